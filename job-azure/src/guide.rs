//! The snippets of the README and of the guide are compiled as tests, and run where they need no
//! account. This crate is the one whose tests have all that they use.
//!
//! They are one program, which collects the jobs of all of them: no two may have one name.

#[doc = include_str!("../../README.md")]
struct Readme;

#[doc = include_str!("../../docs/src/introduction.md")]
struct Introduction;

#[doc = include_str!("../../docs/src/when.md")]
struct When;

#[doc = include_str!("../../docs/src/jobs.md")]
struct Jobs;

#[doc = include_str!("../../docs/src/idempotency.md")]
struct Idempotency;

#[doc = include_str!("../../docs/src/settings.md")]
struct Settings;

#[doc = include_str!("../../docs/src/poison.md")]
struct Poison;

#[doc = include_str!("../../docs/src/deploys.md")]
struct Deploys;

#[doc = include_str!("../../docs/src/processes.md")]
struct Processes;

#[doc = include_str!("../../docs/src/sizing.md")]
struct Sizing;

#[doc = include_str!("../../docs/src/security.md")]
struct Security;

#[doc = include_str!("../../docs/src/testing.md")]
struct Testing;

#[doc = include_str!("../../docs/src/middleware.md")]
struct Middleware;

#[doc = include_str!("../../docs/src/messages.md")]
struct Messages;

#[doc = include_str!("../../docs/src/azure.md")]
struct Azure;

#[doc = include_str!("../../docs/src/functions.md")]
struct Functions;

#[doc = include_str!("../../docs/src/celery.md")]
struct Celery;

#[doc = include_str!("../../docs/src/sidekiq.md")]
struct Sidekiq;
