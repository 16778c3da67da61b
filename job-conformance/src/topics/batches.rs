//! Requests of several items.

use std::collections::HashMap;

use bytes::Bytes;
use job_core::backend::{Delivery, ErrorKind, Outgoing, Receipt};

use crate::fixture::Fixture;
use crate::promise::{self, Kept, broken, ensure};

/// A request of no items is answered, with no results.
pub async fn an_empty_request_has_an_empty_result(t: &Fixture) {
    let sent = t.backend().send(t.queue(), &[]).await.len();
    let renewed = t.backend().renew(&[], t.long()).await.len();
    let deleted = t.backend().delete(&[]).await.len();
    let promise = promise::AS_MANY_RESULTS;
    ensure!(sent + renewed + deleted == 0, promise, "{sent}, {renewed}, {deleted} results");
}

/// A send of as many messages as the capability says.
pub async fn a_full_send_is_accepted(t: &Fixture) {
    let most = t.capabilities().max_send;
    let ids = t.send_many(most).await;
    let taken = t.take_many(most).await;
    ensure!(
        taken.iter().all(|delivery| ids.contains(&delivery.message_id)),
        promise::STAYS,
        "a message came that was not sent"
    );
}

/// A send of one more is refused as a whole.
pub async fn a_send_over_the_limit_is_invalid(t: &Fixture) {
    let count = t.capabilities().max_send + 1;
    let results = t.backend().send(t.queue(), &vec![Outgoing::new("x"); count]).await;
    ensure!(results.len() == count, promise::AS_MANY_RESULTS, "{} results", results.len());
    for sent in results {
        sent.refused(ErrorKind::Invalid, promise::OVER_LIMIT);
    }
    t.expect_nothing(promise::OVER_LIMIT).await;
}

/// A receive, renew and delete of as many messages as the capabilities say.
pub async fn full_renews_and_deletes_are_accepted(t: &Fixture) {
    let c = t.capabilities();
    let count = c.max_renew.max(c.max_delete);
    t.send_many(count).await;
    let mut receipts = receipts(&t.take_many(count).await);
    for chunk in receipts.chunks_mut(c.max_renew) {
        let renewed = t.backend().renew(chunk, t.long()).await;
        ensure!(renewed.len() == chunk.len(), promise::AS_MANY_RESULTS, "{}", renewed.len());
        for (receipt, renewed) in chunk.iter_mut().zip(renewed) {
            *receipt = renewed.kept("A renew of up to `max_renew` receipts is accepted.");
        }
    }
    for chunk in receipts.chunks(c.max_delete) {
        let deleted = t.backend().delete(chunk).await;
        ensure!(deleted.len() == chunk.len(), promise::AS_MANY_RESULTS, "{}", deleted.len());
        for deleted in deleted {
            deleted.kept("A delete of up to `max_delete` receipts is accepted.");
        }
    }
}

/// A renew of one receipt too many is refused as a whole.
pub async fn a_renew_over_the_limit_is_invalid(t: &Fixture) {
    t.send("x").await;
    let held = t.take().await.receipt;
    let count = t.capabilities().max_renew + 1;
    let results = t.backend().renew(&vec![held.clone(); count], t.long()).await;
    ensure!(results.len() == count, promise::AS_MANY_RESULTS, "{} results", results.len());
    for renewed in results {
        renewed.refused(ErrorKind::Invalid, promise::OVER_LIMIT);
    }
    t.renew(&held, t.long()).await.kept("A refused request changes nothing.");
}

/// A delete of one receipt too many is refused as a whole.
pub async fn a_delete_over_the_limit_is_invalid(t: &Fixture) {
    t.send("x").await;
    let held = t.take().await.receipt;
    let count = t.capabilities().max_delete + 1;
    let results = t.backend().delete(&vec![held.clone(); count]).await;
    ensure!(results.len() == count, promise::AS_MANY_RESULTS, "{} results", results.len());
    for deleted in results {
        deleted.refused(ErrorKind::Invalid, promise::OVER_LIMIT);
    }
    t.delete(&held).await.kept("A refused request changes nothing.");
}

/// The ids of a send are in the order of its messages.
pub async fn a_send_answers_in_order(t: &Fixture) {
    let count = t.capabilities().max_send.min(8);
    let ids = t.send_many(count).await;
    let bodies: HashMap<_, _> =
        t.take_many(count).await.into_iter().map(|d| (d.message_id, d.body)).collect();
    for (number, id) in ids.iter().enumerate() {
        let body = bodies.get(id).map(|body| &body[..]);
        let sent = number.to_string();
        ensure!(body == Some(sent.as_bytes()), promise::IN_ORDER, "id {number} is another's");
    }
}

/// The receipts of a renew are in the order of the request, whatever that is.
pub async fn a_renew_answers_in_order(t: &Fixture) {
    let mut held = taken(t, 3).await;
    held.reverse();
    let renewed = t.backend().renew(&receipts(&held), t.long()).await;
    ensure!(renewed.len() == held.len(), promise::AS_MANY_RESULTS, "{}", renewed.len());
    for (renewed, held) in renewed.into_iter().zip(&held) {
        let renewed = renewed.kept(promise::RENEW);
        ensure!(*renewed.message_id() == held.message_id, promise::IN_ORDER, "receipts swapped");
        t.delete(&renewed).await.kept(promise::IN_ORDER);
    }
}

/// A message that is too large is refused alone.
pub async fn one_bad_message_is_refused_alone(t: &Fixture) {
    let large = Bytes::from(vec![b'x'; t.capabilities().max_body * 4]);
    let late = Outgoing::new("late").delay(t.capabilities().max_delay * 2);
    for (bad, kind) in [(Outgoing::new(large), ErrorKind::TooLarge), (late, ErrorKind::Invalid)] {
        let messages = [Outgoing::new("first"), bad, Outgoing::new("last")];
        let results = t.backend().send(t.queue(), &messages).await;
        let Ok([first, bad, last]) = <[_; 3]>::try_from(results) else {
            broken(
                promise::AS_MANY_RESULTS,
                format_args!("3 messages got another number of results"),
            )
        };
        bad.refused(kind, promise::IN_ORDER);
        let mut sent = [first.kept(promise::ITEMS_APART), last.kept(promise::ITEMS_APART)];
        let mut came: Vec<_> =
            t.take_many(2).await.into_iter().map(|delivery| delivery.message_id).collect();
        sent.sort_by_key(ToString::to_string);
        came.sort_by_key(ToString::to_string);
        ensure!(sent[..] == came[..], promise::ITEMS_APART, "others came than were accepted");
        t.expect_nothing(promise::ITEMS_APART).await;
    }
}

/// A stale receipt among good ones is refused alone by a renew.
pub async fn one_stale_receipt_is_not_renewed_alone(t: &Fixture) {
    let held = taken(t, 3).await;
    t.delete(&held[1].receipt).await.kept(promise::STAYS);
    let results = t.backend().renew(&receipts(&held), t.long()).await;
    let Ok([first, stale, last]) = <[_; 3]>::try_from(results) else {
        broken(promise::AS_MANY_RESULTS, format_args!("3 receipts got another number of results"))
    };
    stale.refused(ErrorKind::LeaseLost, promise::IN_ORDER);
    for (renewed, held) in [(first, &held[0]), (last, &held[2])] {
        let renewed = renewed.kept(promise::ITEMS_APART);
        ensure!(*renewed.message_id() == held.message_id, promise::IN_ORDER, "receipts swapped");
    }
}

/// A stale receipt among good ones is refused alone by a delete.
pub async fn one_stale_receipt_is_not_deleted_alone(t: &Fixture) {
    let held = taken(t, 3).await;
    let current = t.renew(&held[0].receipt, t.long()).await.kept(promise::RENEW);
    let results = t.backend().delete(&receipts(&held)).await;
    let Ok([stale, second, last]) = <[_; 3]>::try_from(results) else {
        broken(promise::AS_MANY_RESULTS, format_args!("3 receipts got another number of results"))
    };
    stale.refused(ErrorKind::LeaseLost, promise::IN_ORDER);
    second.kept(promise::ITEMS_APART);
    last.kept(promise::ITEMS_APART);
    t.delete(&current).await.kept(promise::STALE);
    for gone in &held[1..] {
        t.delete(&gone.receipt).await.refused(ErrorKind::LeaseLost, promise::IN_ORDER);
    }
}

/// Receipts of several queues may be settled in one request.
pub async fn receipts_of_several_queues_are_settled_together(t: &Fixture) {
    let other = t.fresh().await;
    t.send_many(2).await;
    other.send_many(1).await;
    let [mine, theirs] = [t.take_many(2).await, other.take_many(1).await];
    let mixed = [&mine[0], &theirs[0], &mine[1]].map(|delivery| delivery.receipt.clone());
    let results = t.backend().delete(&mixed).await;
    ensure!(results.len() == 3, promise::AS_MANY_RESULTS, "{} results", results.len());
    for deleted in results {
        deleted.kept("A receipt names its queue; one request may settle those of several.");
    }
}

async fn taken(t: &Fixture, count: usize) -> Vec<Delivery> {
    t.send_many(count).await;
    t.take_many(count).await
}

fn receipts(deliveries: &[Delivery]) -> Vec<Receipt> {
    deliveries.iter().map(|delivery| delivery.receipt.clone()).collect()
}
