//! A queue backend in memory, with the semantics of the remote ones.
//!
//! For tests, for a laptop, and for work that may die with its process. Leases, delays, receipts,
//! counts and TTLs behave as the [`Backend`](job_core::backend::Backend) contract says, so what
//! passes here passes against a service. Nothing is written to disk: when the last clone of a
//! [`MemoryBackend`] is dropped, its messages are gone.
//!
//! Time is tokio's. Under a paused clock (`#[tokio::test(start_paused = true)]`) leases and delays
//! of hours pass in no time.
//!
//! ```
//! use std::time::Duration;
//!
//! use job_core::QueueName;
//! use job_core::backend::{Backend, Outgoing, ReceiveRequest};
//! use job_memory::MemoryBackend;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let backend = MemoryBackend::new();
//! let queue = QueueName::new("mail")?;
//! backend.create_queue(&queue, &Default::default()).await?;
//! backend.send(&queue, &[Outgoing::new("hello").delay(Duration::from_secs(5))]).await;
//!
//! // Nothing is visible yet: the receive waits for it.
//! let request = ReceiveRequest::new(queue).wait(Duration::from_secs(20));
//! let batch = backend.receive(request).await?;
//! assert_eq!(batch.deliveries[0].body, "hello");
//! assert_eq!(batch.deliveries[0].count, Some(1));
//! backend.delete(&[batch.deliveries[0].receipt.clone()]).await;
//! # Ok(())
//! # }
//! ```
//!
//! [`testing`] is a kit for testing apps on it.
//!
//! To see how code copes with a poorer service, say what that service cannot do:
//!
//! ```
//! use job_core::backend::Capabilities;
//! use job_memory::MemoryBackend;
//!
//! let backend = MemoryBackend::with_capabilities(Capabilities::minimal());
//! ```

mod backend;
mod clock;
mod limits;
mod queue;
mod shared;
pub mod testing;

pub use self::backend::MemoryBackend;
