//! The words every room shares: paths, durations, capabilities, secrets, JSON, errors, the clock.
