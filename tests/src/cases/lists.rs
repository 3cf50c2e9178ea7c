//! Lists in words: `block client`, `allow 198.51.100.0/24 configured`, `ban client expires=5`, compiled by the real compiler.

use anyhow::{Context, Result, bail};
use ipnet::Ipv4Net;
use relay_abi::list::{Prefix, slot};
use relay_userspace::lists::Kind;
use relay_userspace::lists::compiled::{Compiled, Item, compile};

use super::packet::Line;
use super::world;

/// The lists of a case, by slot; an empty one has one line that says nothing. `expires` counts ticks from `tick` on.
pub fn compiled(texts: &[String], tick: u64) -> Result<[Compiled; slot::COUNT]> {
    let mut items: [Vec<Item>; slot::COUNT] = Default::default();
    for text in texts {
        let read = |line: &Line<'_>| read(line, tick);
        let (slot, item) = Line::new(text)
            .and_then(|line| read(&line))
            .with_context(|| format!("read the listed prefix `{text}`"))?;
        items[slot as usize].push(item);
    }
    let [runtime, configured] = items.map(|items| compile(&items));
    match (runtime, configured) {
        (Ok(runtime), Ok(configured)) => Ok([runtime, configured]),
        _ => bail!("a list is too long"),
    }
}

fn read(line: &Line<'_>, tick: u64) -> Result<(u32, Item)> {
    let kind = match line.kind {
        "allow" => Kind::Allowed,
        "block" => Kind::Blocked,
        "ban" => Kind::Banned,
        other => bail!("a list does not `{other}`"),
    };
    let prefix = line.word()?;
    line.knows(&[prefix, "configured", "expired"], &["expires"])?;
    let net = match prefix.parse::<Ipv4Net>() {
        Ok(net) => net,
        Err(_) => world::address(prefix)?.into(),
    };
    let expires = match (line.has("expired"), line.number::<u64>("expires")?) {
        (true, _) => Some(tick - 1),
        (false, later) => later.map(|later| tick + later),
    };
    let prefix = Prefix { address: net.network().to_bits(), length: net.prefix_len() };
    let slot = if line.has("configured") { slot::CONFIGURED } else { slot::RUNTIME };
    Ok((slot, Item { prefix, kind, expires }))
}
