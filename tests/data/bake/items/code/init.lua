#!/usr/bin/env lua
local s = [[
long -- string
]]
--[==[ long
comment ]==]
return s
