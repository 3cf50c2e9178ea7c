//! Waiting for a state of the world: by asking again until it holds, never by sleeping for a guessed time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is asked again. Timers of a loaded two-core machine are late by up to 20 ms anyway.
const ASK_EVERY: Duration = Duration::from_millis(5);

/// Asks `condition` until it gives a value. An error of the condition ends the wait: it says the state can no longer come.
pub fn wait_for<T>(
    what: &str,
    patience: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if start.elapsed() > patience {
            bail!("waited {patience:?} for {what}, in vain");
        }
        std::thread::sleep(ASK_EVERY);
    }
}

/// [`wait_for`] a condition that is only true or false.
pub fn wait_until(what: &str, patience: Duration, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    wait_for(what, patience, || Ok(condition()?.then_some(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_value_and_stops_asking() {
        let mut asked = 0;
        let value = wait_for("the third time", Duration::from_secs(5), || {
            asked += 1;
            Ok((asked == 3).then_some("value"))
        });
        assert_eq!((value.unwrap(), asked), ("value", 3));
    }

    #[test]
    fn names_what_it_waited_for() {
        let error = wait_until("rain", Duration::ZERO, || Ok(false)).unwrap_err();
        assert!(error.to_string().contains("rain"));
    }
}
