//! The suite catches bugs: backends with one deliberate fault each, and the cases that tell.

mod faulty;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use job_conformance::{Case, Harness, Outcome, cases, run};
use job_core::backend::Backend;
use job_memory::MemoryBackend;

use self::faulty::{Fault, Faulty};

/// A test for each fault: every case named must fail, and say which promise is broken.
macro_rules! caught {
    ($($test:ident: $fault:ident by $($case:ident),+;)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $test() {
            for name in [$(stringify!($case)),+] {
                match case(name).run(&harness(Fault::$fault)).await {
                    Outcome::Failed(message) => {
                        assert!(message.contains("the contract is broken"), "{name}: {message}");
                    }
                    outcome => panic!("{name} does not catch {:?}: {outcome:?}", Fault::$fault),
                }
            }
        }
    )*};
}

caught! {
    a_renew_that_keeps_the_receipt: RenewKeepsReceipt by a_renew_rotates_the_receipt, one_of_parallel_renews_wins;
    a_delete_that_takes_stale_receipts: DeleteIgnoresStale
        by a_second_delete_is_lease_lost, a_stale_receipt_deletes_nothing, one_of_parallel_deletes_wins;
    a_count_that_stays: CountStays by the_count_rises_by_one;
    a_count_that_renewals_raise: RenewCounts by a_renewal_is_no_delivery;
    a_replace_that_dates_anew: ReplaceDatesAnew by a_replace_keeps_the_rest;
    a_replace_in_two_steps: ReplaceInTwoSteps by a_replace_keeps_the_rest;
    a_replace_that_cuts_bodies: ReplaceCuts by a_replace_too_large_changes_nothing;
    delete_results_in_reverse: DeleteReversed by one_stale_receipt_is_not_deleted_alone;
    renewed_receipts_in_reverse: RenewReversed by a_renew_answers_in_order;
    ids_in_reverse: SendReversed by a_send_answers_in_order;
    a_failure_that_fails_all: SendAllOrNothing by one_bad_message_is_refused_alone;
    a_send_that_is_cut_to_the_limit: SendCut by a_send_over_the_limit_is_invalid;
    a_purge_that_leaves_hidden_messages: PurgeLeavesHidden by a_purge_takes_everything;
    a_peek_that_counts: PeekCounts by a_peek_counts_nothing;
    a_peek_that_leases: PeekLeases by a_peek_leases_nothing;
    bodies_taken_for_text: BodiesAsText by every_byte_value_arrives, invalid_utf8_arrives;
    bodies_that_are_trimmed: BodiesTrimmed by text_arrives_as_it_was;
    bodies_that_end_at_zero: BodiesEndAtZero by control_characters_arrive;
    an_empty_body_that_is_dropped: EmptyDropped by an_empty_body_arrives;
    a_send_that_makes_its_queue: SendMakesQueue by a_send_to_an_unknown_queue_is_refused;
    queues_that_are_one: QueuesShared by queues_are_isolated;
    errors_that_show_bodies: ErrorsShowBodies by errors_hold_no_bodies;
    errors_that_show_receipts: ErrorsShowTokens by errors_hold_no_receipts;
    a_delay_that_is_ignored: DelayIgnored by a_delay_hides_then_shows, the_longest_delay_is_accepted;
    a_delay_that_is_cut: DelayCut by a_longer_delay_is_invalid;
    a_delay_that_is_rounded_down: DelayRoundedDown by a_fine_delay_is_rounded_up;
    a_release_that_ignores_its_delay: ReleaseAtOnce by a_release_with_a_delay_hides;
    a_lease_that_is_too_short: LeaseHalved by a_lease_ends;
    a_lease_that_never_ends: LeaseNeverEnds by a_lease_ends, the_count_rises_by_one;
    a_lease_that_hides_nothing: LeaseHidesNothing by a_lease_hides, parallel_consumers_share_the_messages,
        one_message_goes_to_one_receiver;
    a_lease_whose_end_loses_the_message: LeaseEndLoses by a_lease_ends, a_receive_rotates_the_receipt;
    a_renewal_that_never_shortens: RenewNeverShortens by a_renewal_shortens;
    a_ttl_that_is_ignored: TtlIgnored by a_ttl_ends_a_message, a_ttl_ends_a_lease;
    a_default_ttl: TtlByDefault by without_a_ttl_a_message_stays;
    a_maximum_that_is_exceeded: MaxExceeded by a_receive_gives_at_most_max;
    a_wait_that_is_not_honoured: WaitIgnored by a_waiting_receive_gets_what_is_sent;
    an_interrupt_that_is_not_heard: InterruptIgnored by an_interrupt_ends_a_wait;
    an_interrupt_that_loses_messages: InterruptLoses by an_interrupt_loses_no_message;
    wakes_that_never_come: NeverWakes by wait_visible_sees_a_send, wait_visible_sees_what_is_there;
    two_clocks: TwoClocks by sent_and_received_by_one_clock;
    stats_that_forget_leases: StatsForgetLeases by stats_count_every_message;
}

/// What catches the faults is the faults, not the wrapper around them.
#[tokio::test(start_paused = true)]
async fn without_a_fault_nothing_fails() {
    let report = run(async || harness(Fault::None)).await;
    assert!(report.is_success(), "{report}");
    assert_eq!(report.passed.len() + report.skipped.len(), cases().len());
}

/// Every queue of a case is handed to the clean-up, also when the case fails.
#[tokio::test(start_paused = true)]
async fn queues_are_cleaned_up() {
    for (fault, fails) in [(Fault::None, false), (Fault::QueuesShared, true)] {
        let cleaned = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&cleaned);
        let harness = harness(fault).cleanup(move |_queue| {
            counter.fetch_add(1, Ordering::Relaxed);
            async {}
        });
        let outcome = case("queues_are_isolated").run(&harness).await;
        assert_eq!(matches!(outcome, Outcome::Failed(_)), fails, "{outcome:?}");
        assert_eq!(cleaned.load(Ordering::Relaxed), 2);
    }
}

fn case(name: &str) -> Case {
    let case = cases().into_iter().find(|case| case.name() == name);
    case.unwrap_or_else(|| panic!("there is no case {name}"))
}

fn harness(fault: Fault) -> Harness {
    let mut capabilities = MemoryBackend::new().capabilities().clone();
    if fault == Fault::DelayRoundedDown {
        capabilities.granularity = Duration::from_secs(1);
    }
    Harness::new(Faulty::new(fault, MemoryBackend::with_capabilities(capabilities)))
}
