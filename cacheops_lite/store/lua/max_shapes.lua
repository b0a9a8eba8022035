-- Purpose: shared by read.lua and fill.lua, which include this file by name (see `script_source` in store/client.py).

-- Shapes of one table: each costs every write of it.
local MAX_SHAPES = 500
