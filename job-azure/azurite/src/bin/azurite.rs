//! Runs Azurite's queue service until it is interrupted: `cargo run -p job-azurite [-- <port>]`.
//! Prints its URL and its connection string, a line each.

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use job_azurite::Azurite;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let port = match env::args().nth(1) {
        Some(port) => port.parse().map_err(|_| "usage: azurite [<port>]")?,
        None => 0,
    };
    let azurite = Azurite::start_on(port)?;
    writeln!(io::stdout(), "{}\n{}", azurite.url(), azurite.connection_string())?;
    let status = azurite.wait()?;
    Err(format!("Azurite ended: {status}").into())
}
