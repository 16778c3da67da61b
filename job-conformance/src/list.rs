//! The list of all cases, and what is made of it.
//!
//! [`__for_each_case!`] is the only place that names them. From it come the list that runs, the
//! public functions, and the tests of [`suite!`]. A case that it does not name is unused code, of
//! which the compiler tells.

/// Calls another macro of this crate with every case, by topic, and what it needs.
#[doc(hidden)]
#[macro_export]
macro_rules! __for_each_case {
    ($callback:ident! $context:tt) => {
        $crate::$callback! {
            $context
            capabilities {
                every_batch_takes_at_least_one: [],
                limits_are_in_order: [],
                capabilities_are_constant: [],
                both_handles_can_do_the_same: [SECOND],
                the_service_has_a_name: [],
            }
            queues {
                making_a_queue_again_changes_nothing: [],
                the_longest_name_is_taken: [],
                queues_are_isolated: [],
                a_send_to_an_unknown_queue_is_refused: [],
                a_receive_from_an_unknown_queue_is_refused: [],
                a_peek_at_an_unknown_queue_is_refused: [PEEK],
                stats_of_an_unknown_queue_are_refused: [],
                a_purge_of_an_unknown_queue_is_refused: [],
                a_receipt_of_an_unknown_queue_is_refused: [],
                a_purge_takes_everything: [],
                a_purge_makes_receipts_stale: [],
                a_purged_queue_takes_messages: [],
                two_handles_see_the_same_queues: [SECOND],
                a_receipt_works_through_either_handle: [SECOND],
            }
            batches {
                an_empty_request_has_an_empty_result: [],
                a_full_send_is_accepted: [SEND_LIMIT],
                a_send_over_the_limit_is_invalid: [SEND_LIMIT],
                full_renews_and_deletes_are_accepted: [RENEW_LIMIT, DELETE_LIMIT],
                a_renew_over_the_limit_is_invalid: [RENEW_LIMIT],
                a_delete_over_the_limit_is_invalid: [DELETE_LIMIT],
                a_send_answers_in_order: [SEND_BATCH],
                a_renew_answers_in_order: [RENEW_BATCH],
                one_bad_message_is_refused_alone: [SEND_BATCH],
                one_stale_receipt_is_not_renewed_alone: [RENEW_BATCH],
                one_stale_receipt_is_not_deleted_alone: [DELETE_BATCH],
                receipts_of_several_queues_are_settled_together: [DELETE_BATCH],
            }
            sending {
                a_sent_message_is_delivered: [],
                message_ids_are_unique: [],
                message_ids_are_short: [],
                equal_messages_are_two: [],
                a_delay_hides_then_shows: [],
                a_delayed_message_holds_up_no_other: [],
                the_longest_delay_is_accepted: [],
                a_longer_delay_is_invalid: [],
            }
            bodies {
                an_empty_body_arrives: [],
                every_byte_value_arrives: [],
                text_arrives_as_it_was: [],
                control_characters_arrive: [],
                invalid_utf8_arrives: [],
                bodies_that_look_encoded_arrive: [],
                the_longest_body_arrives: [],
                a_body_over_the_limit_is_too_large: [],
                a_body_is_the_same_every_time: [],
                a_body_is_rewritten_byte_for_byte: [REPLACE],
            }
            receiving {
                an_empty_queue_gives_nothing_at_once: [],
                a_receive_gives_at_most_max: [RECEIVE_BATCH],
                a_receive_is_cut_to_the_capability: [RECEIVE_LIMIT],
                a_batch_has_a_lease_for_each: [],
                everything_is_received_once: [],
                the_first_delivery_counts_one: [COUNTS],
                the_count_rises_by_one: [COUNTS],
                a_receive_of_nothing_is_invalid: [],
                a_wait_that_is_not_offered_is_ignored: [NO_LONG_POLL],
            }
            leases {
                a_lease_hides: [],
                a_lease_ends: [],
                a_lease_ends_time_after_time: [],
                a_renewal_extends: [],
                a_renewal_shortens: [],
                a_lease_is_renewed_again_and_again: [],
                a_renewal_is_no_delivery: [COUNTS],
                leases_within_the_limits_are_accepted: [],
                a_longer_lease_is_invalid: [],
                a_shorter_lease_is_invalid: [SHORTEST_LEASE],
                an_expired_receipt_tells_the_truth: [],
            }
            receipts {
                a_renew_rotates_the_receipt: [],
                a_release_rotates_the_receipt: [],
                a_replace_rotates_the_receipt: [REPLACE],
                a_receive_rotates_the_receipt: [],
                a_stale_receipt_deletes_nothing: [],
                a_stale_receipt_renews_nothing: [],
                a_stale_receipt_releases_nothing: [],
                a_stale_receipt_replaces_nothing: [REPLACE],
                a_deleted_message_never_comes_again: [],
                a_second_delete_is_lease_lost: [],
                a_receipt_settles_its_own_message: [],
            }
            releasing {
                a_release_shows_at_once: [],
                a_release_with_a_delay_hides: [],
                a_release_may_outlast_the_lease: [],
                a_release_keeps_the_message: [],
                a_release_over_the_longest_delay_is_invalid: [],
            }
            replacing {
                a_replace_rewrites_and_hides: [REPLACE],
                a_replace_shows_at_once: [REPLACE],
                a_replace_renews: [REPLACE],
                a_replace_keeps_the_rest: [REPLACE],
                the_receipt_of_a_replace_is_valid: [REPLACE],
                the_receipt_of_a_replace_ends_with_the_next_delivery: [REPLACE],
                a_replace_too_large_changes_nothing: [REPLACE],
                a_replace_over_the_longest_delay_is_invalid: [REPLACE],
                a_replace_that_is_not_offered_is_unsupported: [NO_REPLACE],
            }
            time {
                sent_and_received_by_one_clock: [],
                the_time_of_sending_is_constant: [],
                a_delay_is_not_the_time_of_sending: [],
                the_services_time_passes: [],
                now_is_the_services_time: [IN_PROCESS],
                a_fine_delay_is_rounded_up: [],
                a_ttl_ends_a_message: [TTL],
                a_ttl_keeps_a_message_until_its_end: [TTL],
                a_ttl_ends_a_lease: [TTL],
                a_ttl_outlives_a_release: [TTL],
                without_a_ttl_a_message_stays: [],
                a_ttl_that_is_not_offered_is_ignored: [NO_TTL],
            }
            peeking {
                a_peek_shows_the_message: [PEEK],
                a_peek_leases_nothing: [PEEK],
                a_peek_counts_nothing: [PEEK, COUNTS],
                a_peek_gives_at_most_max: [PEEK, PEEK_TWO],
                a_peek_is_cut_to_the_capability: [PEEK],
                a_peek_shows_only_visible_messages: [PEEK],
                a_peek_that_is_not_offered_shows_nothing: [NO_PEEK],
            }
            statistics {
                stats_are_answered: [],
                stats_of_an_empty_queue_are_zero: [EXACT_STATS],
                stats_count_every_message: [EXACT_STATS],
                stats_forget_what_is_gone: [EXACT_STATS],
                stats_tell_the_oldest: [EXACT_STATS],
            }
            concurrency {
                parallel_consumers_share_the_messages: [],
                parallel_senders_lose_nothing: [],
                one_message_goes_to_one_receiver: [],
                one_of_parallel_deletes_wins: [],
                one_of_parallel_renews_wins: [],
                one_of_parallel_releases_wins: [],
                one_of_parallel_replaces_wins: [REPLACE],
                a_delete_and_a_release_do_not_both_win: [],
                parallel_makers_make_one_queue: [],
            }
            waiting {
                a_waiting_receive_gets_what_is_sent: [LONG_POLL],
                a_waiting_receive_gets_what_becomes_due: [LONG_POLL],
                a_waiting_receive_gets_what_a_lease_frees: [LONG_POLL],
                a_waiting_receive_gets_what_is_released: [LONG_POLL],
                a_waiting_receive_gets_what_a_shorter_lease_frees: [LONG_POLL],
                a_receive_does_not_wait_for_more: [LONG_POLL],
                every_waiting_receive_gets_a_message: [LONG_POLL],
                a_wait_ends: [LONG_POLL],
                a_longer_wait_is_cut: [LONG_POLL],
                an_interrupt_ends_a_wait: [LONG_POLL],
                an_interrupt_loses_no_message: [LONG_POLL],
                wait_visible_ends: [],
                wait_visible_sees_a_send: [WAKES],
                wait_visible_sees_what_is_there: [WAKES],
                wait_visible_sees_a_release: [WAKES],
                wait_visible_sees_what_becomes_due: [WAKES],
                wait_visible_sees_the_end_of_a_lease: [WAKES],
            }
            errors {
                errors_hold_no_bodies: [],
                errors_hold_no_receipts: [],
                debug_output_holds_no_bodies: [],
            }
        }
    };
}

/// Makes the public modules of cases, and the list.
#[doc(hidden)]
#[macro_export]
macro_rules! __collect {
    (() $($topic:ident { $($name:ident: [$($need:ident),*],)* })*) => {
        $(
            #[doc = concat!("Cases about ", stringify!($topic), ".")]
            pub mod $topic {
                pub use $crate::topics::$topic::{$($name),*};
            }
        )*

        /// Every case of the contract, in the order in which [`run`] runs them.
        pub fn cases() -> Vec<Case> {
            vec![$($(
                Case {
                    topic: stringify!($topic),
                    name: stringify!($name),
                    needs: &[$($crate::need::$need),*],
                    test: |fixture| Box::pin($topic::$name(fixture)),
                },
            )*)*]
        }
    };
}

/// Makes one test of each case, so that failures are listed by name.
///
/// `paused:` runs them under tokio's paused clock, for backends that go by it: waits take no time.
/// `real:` runs them under the real clock, on two threads. The expression makes the
/// [`Harness`](crate::Harness); it is evaluated in each test and may `.await`. One more test prints
/// which cases are skipped, and why. The crate that uses it needs tokio with the features
/// `macros`, `rt-multi-thread` and `test-util` for its tests.
///
/// All of `tests/conformance.rs`:
///
/// ```
/// use job_conformance::Harness;
///
/// # struct MyBackend;
/// # impl MyBackend {
/// #     async fn connect(_: &str) -> std::io::Result<job_memory::MemoryBackend> {
/// #         Ok(job_memory::MemoryBackend::new())
/// #     }
/// # }
/// #
/// async fn harness() -> Harness {
///     Harness::new(MyBackend::connect("localhost:1234").await.expect("the service is up"))
///         .unit(std::time::Duration::from_secs(1))
/// }
///
/// job_conformance::suite!(real: harness().await);
/// ```
///
/// For several variants of one backend, use it in a module for each.
#[macro_export]
macro_rules! suite {
    (paused: $harness:expr) => {
        $crate::__for_each_case! { __tests! ((start_paused = true) $harness) }
    };
    (real: $harness:expr) => {
        $crate::__for_each_case! { __tests! ((flavor = "multi_thread", worker_threads = 2) $harness) }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    ($context:tt $($topic:ident { $($name:ident: $needs:tt,)* })*) => {
        $($( $crate::__test! { $context $name } )*)*
        $crate::__test! { $context }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __test {
    ((($($runtime:tt)*) $harness:expr) $name:ident) => {
        #[::tokio::test($($runtime)*)]
        async fn $name() {
            $crate::check(::core::stringify!($name), &$harness).await;
        }
    };
    ((($($runtime:tt)*) $harness:expr)) => {
        #[::tokio::test($($runtime)*)]
        async fn skipped_cases_are_listed() {
            $crate::list_skips(::core::module_path!(), &$harness);
        }
    };
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn names_are_unique() {
        let cases = crate::cases();
        let names: HashSet<_> = cases.iter().map(crate::Case::name).collect();
        assert_eq!(names.len(), cases.len());
        assert!(cases.len() >= 45, "cases were lost: {}", cases.len());
    }
}
