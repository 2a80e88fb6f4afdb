# ryeos:signed:2026-03-02T17:05:41Z:a1fce4363854ff888cff4b8e7875d600c2682390412a8cf79b37d0b11148b0fa:qf7sT2v_Zk1nJb-0aXw9LmPc3RyHd8EoUg5iVtNxQ4sKz6BjWl2fYrCpA7hMuD1eGvO0IqXTnS5kZb9wJy3Laa==:9f2c51d07b6e4a8890c3de417a5b2f6013c8d94e7720ab5c66f1e8830d4b97a2
# ryeos-tool:
#   category: text
#   telemetry: off
x = 1
