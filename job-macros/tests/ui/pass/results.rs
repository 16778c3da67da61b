//! Aliases of `Result`, and every kind of error.
use job_core::{JobError, job};

type MyResult<E> = Result<(), E>;

#[derive(Debug)]
enum Std {}
impl std::fmt::Display for Std {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}
impl std::error::Error for Std {}

struct Own;
impl From<Own> for JobError {
    fn from(_: Own) -> Self {
        JobError::permanent("own")
    }
}

#[job]
async fn io() -> std::io::Result<()> {
    Ok(())
}
#[job]
async fn alias() -> MyResult<JobError> {
    Ok(())
}
#[job]
async fn text() -> Result<(), &'static str> {
    Ok(())
}
#[job]
async fn owned_text() -> Result<(), String> {
    Ok(())
}
#[job]
async fn std_error() -> Result<(), Std> {
    Ok(())
}
#[job]
async fn own_error() -> Result<(), Own> {
    Err(Own)
}
#[job]
async fn never() -> Result<(), std::convert::Infallible> {
    Ok(())
}
#[job]
async fn boxed() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    Ok(())
}

fn main() {}
