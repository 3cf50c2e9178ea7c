//! The answer in words.

use super::{Output, Packet, Row, Rule};
use crate::clients::ago;
use crate::command::table::Table;
use crate::rehearse::{Listed, Place};
use crate::timestamp::Timestamp;

impl Output {
    pub(super) fn text(&self) -> String {
        let mut text = format!("client {} at {}\n", self.client, self.node);
        if !self.same_program {
            text.push_str(
                "note: the relay runs the program of another build of xdp-relay; this one was asked\n",
            );
        }
        text.push('\n');
        for row in &self.services {
            text.push_str(&row.text());
            text.push('\n');
        }
        match self.drops.as_deref() {
            None => text.push_str("no controller runs, which would remember its last drops\n"),
            Some([]) => text.push_str("no drop of it is remembered\n"),
            Some(drops) => {
                let now = Timestamp::now();
                let mut table = Table::new(&["last drops", "service", "first", "last", ">samples"]);
                for seen in drops {
                    table.row([
                        seen.reason.clone(),
                        seen.service.as_deref().unwrap_or("-").to_owned(),
                        format!("{} ({})", Timestamp(seen.first_time), ago(seen.first_time, now.0)),
                        format!("{} ({})", Timestamp(seen.last_time), ago(seen.last_time, now.0)),
                        seen.events.to_string(),
                    ]);
                }
                text.push_str(&table.text());
            }
        }
        text
    }
}

impl Row {
    fn text(&self) -> String {
        let mut text = match &self.name {
            Some(name) => format!("service {name} ({})\n", self.service),
            None => format!("service {}\n", self.service),
        };
        for packet in &self.packets {
            text.push_str(&packet.text());
        }
        if let Some(rule) = &self.listed {
            text.push_str(&rule.text());
        }
        let proved = if self.verified { "yes" } else { "no" };
        let place = match self.place {
            Place::Known => "",
            Place::New => "; it has sent nothing lately",
            Place::Unplaced => "; it finds no place in the client table and shares one client's limits",
        };
        text.push_str(&format!("  proved that it receives at its address: {proved}{place}\n"));
        if self.limits.is_empty() {
            text.push_str("  no limits\n");
            return text;
        }
        let mut table = Table::new(&["  limit of", "what", ">a second", ">ahead ms", ">of ms", ""]);
        for level in &self.limits {
            let used = &level.used;
            let note = match (level.over, used.fair_share) {
                (true, _) => "over",
                (false, true) => "fair share",
                (false, false) => "",
            };
            table.row([
                format!("  {}", level.scope),
                used.of.to_owned(),
                used.per_second.to_string(),
                milliseconds(used.used_microseconds),
                milliseconds(used.burst_microseconds),
                note.to_owned(),
            ]);
        }
        text.push_str(&table.text());
        text
    }
}

impl Rule {
    fn text(&self) -> String {
        let Listed { list, prefix, kind, expires } = self.listed;
        let mut text = format!("  {kind} as {prefix} by the {list} list");
        if let Some(origin) = self.origin.as_ref().filter(|origin| *origin != "runtime") {
            text.push_str(&format!(" ({origin})"));
        }
        if let Some(expires) = expires {
            text.push_str(&format!(" until {expires}"));
        }
        if let Some(by) = &self.by {
            text.push_str(&format!(", by {by}"));
        }
        if let Some(reason) = &self.reason {
            text.push_str(&format!(": {reason}"));
        }
        text.push('\n');
        text
    }
}

impl Packet {
    fn text(&self) -> String {
        let mut text = format!("  {}: {}, {}\n    {}\n", self.meaning, self.becomes, self.reason, self.help);
        if let (Some(peer), Some(host)) = (self.peer, self.host) {
            text.push_str(&format!("    to {host} through relay {peer}\n"));
        }
        for note in &self.notes {
            text.push_str(&format!("    {note}\n"));
        }
        text
    }
}

fn milliseconds(microseconds: u64) -> String {
    format!("{:.1}", microseconds as f64 / 1000.0)
}
