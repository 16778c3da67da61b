//! Starts Azurite, the storage emulator, for tests and examples.
