//! Traits, types and macros of one name, all from the prelude.
use job_core::prelude::*;

#[job]
async fn fails() -> Result<(), JobError> {
    Err(JobError::permanent("for good"))
}

#[derive(Debug, thiserror::Error, JobError)]
#[error("it failed")]
struct Failed;

fn name_of<J: Job>(_: &J) -> &'static str {
    J::NAME
}

fn main() {
    assert_eq!(name_of(&Fails), "fails");
    assert_eq!(JobError::from(Failed).to_string(), "it failed");
}
