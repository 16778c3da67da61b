//! Several futures at a time within one task.

use std::pin::Pin;
use std::task::Poll;

/// How many requests one call has under way at once on a remote backend.
pub(super) const IN_FLIGHT: usize = 16;

/// Runs the futures, at most `limit` at a time, and gives their results in order. Each is taken
/// from the iterator only when there is room for it.
///
/// A wake polls all that are under way, which is cheaper than a task each as long as `limit` is
/// small.
pub(super) async fn ordered<F: Future>(
    futures: impl IntoIterator<Item = F>,
    limit: usize,
) -> Vec<F::Output> {
    let mut waiting = futures.into_iter().fuse();
    let mut running: Vec<(usize, Pin<Box<F>>)> = Vec::new();
    let mut results: Vec<Option<F::Output>> = Vec::new();
    std::future::poll_fn(|cx| {
        loop {
            while running.len() < limit.max(1) {
                let Some(future) = waiting.next() else { break };
                running.push((results.len(), Box::pin(future)));
                results.push(None);
            }
            let before = running.len();
            running.retain_mut(|(index, future)| match future.as_mut().poll(cx) {
                Poll::Ready(result) => {
                    results[*index] = Some(result);
                    false
                }
                Poll::Pending => true,
            });
            if running.len() == before {
                return if before == 0 { Poll::Ready(()) } else { Poll::Pending };
            }
        }
    })
    .await;
    results.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn results_are_in_order_and_the_limit_holds() {
        let (now, most) = (Cell::new(0), Cell::new(0));
        let futures = (0..100_u64).map(|n| {
            let (now, most) = (&now, &most);
            async move {
                now.set(now.get() + 1);
                most.set(most.get().max(now.get()));
                tokio::time::sleep(Duration::from_millis((n * 37) % 11)).await;
                now.set(now.get() - 1);
                n
            }
        });
        assert_eq!(ordered(futures, 7).await, (0..100).collect::<Vec<_>>());
        assert_eq!(most.get(), 7);
    }

    #[tokio::test]
    async fn nothing_to_do_is_done() {
        assert!(ordered(std::iter::empty::<std::future::Ready<()>>(), 4).await.is_empty());
    }
}
