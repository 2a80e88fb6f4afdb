@echo off
if exist "%~dp0python.exe" ("%~dp0python.exe" -m rye_telemetry %*) else ("%~dp0..\python.exe" -m rye_telemetry %*)
