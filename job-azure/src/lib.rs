//! Azure Queue Storage for background jobs.
