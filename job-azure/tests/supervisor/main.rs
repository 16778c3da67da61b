//! Real worker processes under a supervisor, on Azurite: what becomes of them and of their jobs
//! when they are killed, stopped, blown up by a job, replaced, or asked to end.
//!
//! This binary is the tests, the supervisors and the worker processes: see `program`.

#![allow(unreachable_pub, reason = "its parts are modules of a binary")]

#[cfg(unix)]
mod cases;
#[cfg(unix)]
mod front;
#[cfg(unix)]
mod observe;
#[cfg(unix)]
mod program;
#[cfg(unix)]
mod still;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    if let Some(code) = program::run() {
        return code;
    }
    still::watch();
    let args = libtest_mimic::Arguments::from_args();
    libtest_mimic::run(&args, cases::all()).exit_code()
}

#[cfg(not(unix))]
fn main() {}
