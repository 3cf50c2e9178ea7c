//! What happened lately, for those who ask, and what happens now, for those who listen.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender};

use super::filter::Filter;
use super::recent::{DropsSeen, Recent};
use super::record::{Record, SCHEMA_VERSION, What};

/// Records kept. Of whatever there are most, the oldest goes first: a flood for one reason pushes out nothing else.
const KEPT: usize = 10_000;
/// Records a subscriber may be behind.
const BEHIND: usize = 4096;

/// The journal of a relay, in memory. Clones are handles of the same journal.
#[derive(Clone, Debug)]
pub struct Journal {
    node: Arc<str>,
    shared: Arc<Mutex<Shared>>,
    sender: Sender<Arc<Record>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// By reason, or by what else happened.
    kinds: HashMap<Cow<'static, str>, VecDeque<Arc<Record>>>,
    kept: usize,
    sequence: u64,
    recent: Recent,
}

impl Journal {
    /// An empty one.
    #[must_use]
    pub fn new(node: &str) -> Self {
        Self { node: node.into(), shared: Arc::default(), sender: Sender::new(BEHIND) }
    }

    /// The relay's name.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Adds a record and tells those who listen. Never waits for them.
    pub fn add(&self, time: SystemTime, what: What) {
        let mut shared = self.lock();
        if let What::Drop(dropped) = &what {
            shared.recent.note(dropped, time);
        }
        shared.sequence += 1;
        let record = Arc::new(Record {
            schema_version: SCHEMA_VERSION,
            sequence: shared.sequence,
            time,
            node: Arc::clone(&self.node),
            what,
        });
        shared.keep(Arc::clone(&record));
        // Under the lock, so that a new subscriber gets each record once. That nobody listens is fine.
        drop(self.sender.send(record));
    }

    /// Adds something that other parts of the controller tell: what it is, and its fields, which need no time.
    pub fn tell(&self, event: &str, fields: &impl Serialize) {
        match serde_json::to_value(fields) {
            Ok(serde_json::Value::Object(mut fields)) => {
                // A record has these itself.
                for own in ["schema_version", "sequence", "time", "node"] {
                    fields.remove(own);
                }
                fields.insert("event".to_owned(), event.into());
                self.add(SystemTime::now(), What::Other(fields));
            }
            Ok(other) => tracing::error!("cannot tell of {event}: {other} is no object"),
            Err(error) => tracing::error!("cannot tell of {event}: {error}"),
        }
    }

    /// The last `limit` records that a filter admits, the oldest first.
    #[must_use]
    pub fn last(&self, filter: &Filter, limit: usize) -> Vec<Arc<Record>> {
        self.lock().last(filter, limit)
    }

    /// The same, and a subscription to what comes after.
    #[must_use]
    pub fn follow(&self, filter: Filter, limit: usize) -> (Vec<Arc<Record>>, Subscription) {
        let shared = self.lock();
        let last = shared.last(&filter, limit);
        let receiver = self.sender.subscribe();
        (last, Subscription { node: Arc::clone(&self.node), receiver, filter })
    }

    /// The drops of a client that are remembered, the latest first.
    #[must_use]
    pub fn drops_of(&self, client: Ipv4Addr) -> Vec<DropsSeen> {
        self.lock().recent.of(client)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // A panic between two changes of these fields loses no more than one record.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn keep(&mut self, record: Arc<Record>) {
        self.kinds.entry(kind(&record.what)).or_default().push_back(record);
        self.kept += 1;
        if self.kept > KEPT
            && let Some(most) = self.kinds.values_mut().max_by_key(|records| records.len())
        {
            most.pop_front();
            self.kept -= 1;
        }
    }

    fn last(&self, filter: &Filter, limit: usize) -> Vec<Arc<Record>> {
        let admitted = |records: &VecDeque<Arc<Record>>| -> Vec<Arc<Record>> {
            records.iter().rev().filter(|record| filter.admits(record)).take(limit).cloned().collect()
        };
        let mut last: Vec<_> = self.kinds.values().flat_map(admitted).collect();
        last.sort_unstable_by_key(|record| record.sequence);
        last.split_off(last.len().saturating_sub(limit))
    }
}

fn kind(what: &What) -> Cow<'static, str> {
    match what {
        What::Drop(dropped) => dropped.reason.clone(),
        What::Missed { .. } => "missed".into(),
        What::Other(fields) => match fields.get("event").and_then(serde_json::Value::as_str) {
            Some(event) => event.to_owned().into(),
            None => "other".into(),
        },
    }
}

/// One who listens.
#[derive(Debug)]
pub struct Subscription {
    node: Arc<str>,
    receiver: Receiver<Arc<Record>>,
    filter: Filter,
}

impl Subscription {
    /// The next record the filter admits; `None` once the journal is closed. One who was too slow is told how many records are lost.
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Arc<Record>> {
        loop {
            match self.receiver.recv().await {
                Ok(record) if self.filter.admits(&record) => return Some(record),
                Ok(_) => {}
                Err(RecvError::Lagged(missed_records)) => {
                    return Some(Arc::new(Record {
                        schema_version: SCHEMA_VERSION,
                        sequence: 0,
                        time: SystemTime::now(),
                        node: Arc::clone(&self.node),
                        what: What::Missed { missed_records },
                    }));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::sample::{at, dropped};
    use super::*;

    const CLIENT: [u8; 4] = [198, 51, 100, 2];

    fn drop_of(reason: &'static str) -> What {
        What::Drop(dropped(reason, CLIENT))
    }

    fn sequences(records: &[Arc<Record>]) -> Vec<u64> {
        records.iter().map(|record| record.sequence).collect()
    }

    fn only(reason: &str) -> Filter {
        Filter::new(&[reason.to_owned()], None).unwrap()
    }

    #[test]
    fn the_last_ones_are_kept_and_limited_after_filtering() {
        let journal = Journal::new("a");
        for number in 0..u64::try_from(KEPT).unwrap() + 2 {
            journal.add(at(number), drop_of(if number % 2 == 0 { "land" } else { "blocked" }));
        }
        let all = journal.last(&Filter::default(), usize::MAX);
        assert_eq!(all.len(), KEPT);
        assert!(all[0].sequence <= 3, "{}", all[0].sequence);
        let end = u64::try_from(KEPT).unwrap() + 2;
        assert_eq!(sequences(&journal.last(&Filter::default(), 2)), [end - 1, end]);
        assert_eq!(sequences(&journal.last(&only("land"), 2)), [end - 3, end - 1]);
        assert_eq!(journal.drops_of(CLIENT.into()).len(), 2);
    }

    #[test]
    fn a_flood_for_one_reason_pushes_out_nothing_else() {
        let journal = Journal::new("a");
        journal.add(at(0), drop_of("blocked"));
        journal.tell("action", &serde_json::json!({ "target": "192.0.2.7" }));
        for number in 0..2 * u64::try_from(KEPT).unwrap() {
            journal.add(at(number), drop_of("land"));
        }
        let all = journal.last(&Filter::default(), usize::MAX);
        assert_eq!((all.len(), sequences(&all[..2])), (KEPT, vec![1, 2]));
        assert_eq!(journal.last(&only("land"), usize::MAX).len(), KEPT - 2);
        assert!(all.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
    }

    #[test]
    fn others_tell_things_as_well() {
        let journal = Journal::new("a");
        journal.tell("ban", &serde_json::json!({ "client": "198.51.100.2", "time": "never" }));
        journal.tell("nonsense", &7);
        let all = journal.last(&Filter::default(), usize::MAX);
        assert_eq!(all.len(), 1);
        assert!(all[0].to_string().ends_with("Z ban client=198.51.100.2"), "{}", all[0]);
        assert_eq!(Record::from_json(&all[0].json()).unwrap(), *all[0]);
    }

    #[tokio::test]
    async fn who_follows_gets_each_record_once() {
        let journal = Journal::new("a");
        journal.add(at(0), drop_of("land"));
        let (before, mut subscription) = journal.follow(only("land"), 10);
        assert_eq!(sequences(&before), [1]);
        journal.add(at(1), drop_of("blocked"));
        journal.add(at(2), drop_of("land"));
        assert_eq!(subscription.next().await.unwrap().sequence, 3);
        drop(journal);
        assert!(subscription.next().await.is_none());
    }

    #[tokio::test]
    async fn who_is_slow_is_told_and_holds_nobody_up() {
        let journal = Journal::new("a");
        let (_, mut slow) = journal.follow(Filter::default(), 0);
        for _ in 0..BEHIND + 5 {
            journal.add(at(0), drop_of("land"));
        }
        assert_eq!(slow.next().await.unwrap().what, What::Missed { missed_records: 5 });
        assert_eq!(slow.next().await.unwrap().sequence, 6);
    }
}
