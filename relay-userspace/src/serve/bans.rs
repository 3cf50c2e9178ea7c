//! Clients that the relay bans by itself: what is found beside the loop is put in force here.

use super::Relay;
use crate::actions::{Ban, NewBan};
use crate::audit::Record;
use crate::timestamp::Timestamp;

impl Relay {
    /// Bans who was found to stay over a limit; all of one look at once.
    pub(super) fn ban(&mut self, found: Vec<NewBan>) {
        let now = Timestamp::now();
        let mut actions = self.actions.clone();
        let made: Vec<Ban> = found.into_iter().filter_map(|new| actions.ban(new, now).cloned()).collect();
        if made.is_empty() {
            return;
        }
        if let Err(failure) = self.put_in_force(actions, true, false) {
            // They stay limited, and are found again if they go on.
            tracing::error!("cannot ban {} clients: {}", made.len(), failure.message);
            return;
        }
        self.saver.save(&self.actions);
        for ban in &made {
            self.tell(Record::banned(&self.config.node, ban));
        }
    }

    /// Notes the ends of bans, of which some have ended since `before`.
    pub(super) fn note_ended(&self, before: &[Ban]) {
        for ban in before {
            self.tell(Record::unbanned(&self.config.node, ban));
        }
    }

    fn tell(&self, record: Record) {
        self.events.journal().tell("action", &record);
        self.saver.note(record);
    }
}
