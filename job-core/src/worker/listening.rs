//! The server of health, metrics and scaling figures of a worker that runs; without the feature
//! `http` there is none.

use std::sync::Arc;

use super::Served;

#[cfg(feature = "http")]
mod real {
    use std::io::ErrorKind::AddrInUse;
    use std::time::Duration;

    use super::*;
    use crate::http::{Server, Watched, bind};
    use crate::worker::WorkerError;
    use crate::worker::plan::Plan;
    use crate::worker::shutdown::Shutdown;

    /// How long it may take to let go of its address.
    const CLOSE: Duration = Duration::from_millis(250);

    /// The server, if one was asked for, and what it shows.
    pub(in crate::worker) struct Listening(Option<(Arc<Watched>, Server)>);

    impl Listening {
        pub(in crate::worker) fn start(
            plan: &Plan,
            shutdown: &Shutdown,
        ) -> Result<Self, WorkerError> {
            let Some(http) = &plan.watch.http else { return Ok(Self(None)) };
            let place = plan.home.as_ref().map(|home| home.place());
            let address = http.address_of(place.unwrap_or(0));
            let failed = |source| WorkerError::Http { address, source };
            let listener = match bind(address) {
                Ok(listener) => Ok(listener),
                // The process that it replaces has it still.
                Err(error) if place.is_some() && error.kind() == AddrInUse => Err(address),
                Err(error) => return Err(failed(error)),
            };
            let watched = Arc::new(Watched::new(http, plan.watch.sample_every));
            let bound = shutdown.bound.clone();
            let bound = move |address| {
                bound.send_replace(Some(address));
            };
            let server = Server::start(listener, Arc::clone(&watched), http.render.clone(), bound);
            Ok(Self(Some((watched, server.map_err(failed)?))))
        }

        /// The worker has found its queues.
        pub(in crate::worker) fn serving(&self, queues: &[Arc<Served>]) {
            self.0.iter().for_each(|(watched, _)| watched.serving(queues));
        }

        /// The worker was asked to stop.
        pub(in crate::worker) fn stopping(&self) {
            self.0.iter().for_each(|(watched, _)| watched.stopping());
        }

        /// Waits until nobody listens any more, so that the next worker has the address at once.
        pub(in crate::worker) async fn close(self) {
            if let Some((_, server)) = self.0 {
                server.close(CLOSE).await;
            }
        }
    }
}

#[cfg(not(feature = "http"))]
mod real {
    use super::*;
    use crate::worker::WorkerError;
    use crate::worker::plan::Plan;
    use crate::worker::shutdown::Shutdown;

    pub(in crate::worker) struct Listening;

    impl Listening {
        pub(in crate::worker) fn start(_: &Plan, _: &Shutdown) -> Result<Self, WorkerError> {
            Ok(Self)
        }

        pub(in crate::worker) fn serving(&self, _: &[Arc<Served>]) {}

        pub(in crate::worker) fn stopping(&self) {}

        pub(in crate::worker) async fn close(self) {}
    }
}

pub(super) use self::real::Listening;
