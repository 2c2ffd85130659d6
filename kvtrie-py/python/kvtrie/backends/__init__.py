"""Prefix caches for engines that let one be registered: `mini_sglang` and `sglang`.

Each module imports without its engine. `register()` imports the engine.

The engine allocates the slots of keys and values, and stays their owner. So the blocks of a
backend are not the engine's pages. Each block stands for the page of slots that the engine
inserted, and a table on the engine's device tells which. Thus no call copies slots to the host,
which would wait for the device.
"""
