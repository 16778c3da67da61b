//! Azure Queue Storage in the process, with faults on request, for tests.
