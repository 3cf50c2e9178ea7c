//! Compares sizes with the committed budget, so that growth is a decision that shows in a change.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::Size;
use crate::workspace;

const FILE: &str = "xtask/budget.toml";

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Budget {
    instructions: u64,
    verified_instructions: u64,
    stack_bytes: u64,
}

pub(super) fn check(sizes: &[Size]) -> Result<()> {
    let path = workspace::root().join(FILE);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {FILE}"))?;
    let budgets = toml::from_str(&text).with_context(|| format!("cannot understand {FILE}"))?;
    let excess = excess(sizes, &budgets);
    if !excess.is_empty() {
        bail!(
            "{}\nmake the program smaller, or raise the number in {FILE} and say why in the commit",
            excess.join("\n")
        );
    }
    Ok(())
}

fn excess(sizes: &[Size], budgets: &BTreeMap<String, Budget>) -> Vec<String> {
    let mut lines = Vec::new();
    for size in sizes {
        let program = &size.program;
        let Some(budget) = budgets.get(program) else {
            lines.push(format!("program {program} has no budget in {FILE}"));
            continue;
        };
        for (what, found, allowed) in [
            ("instructions", size.instructions, budget.instructions),
            ("verified instructions", size.verified_instructions, budget.verified_instructions),
            ("stack bytes", size.stack_bytes, budget.stack_bytes),
        ] {
            if let Some(over) = found.checked_sub(allowed).filter(|over| *over > 0) {
                lines.push(format!(
                    "program {program} has {found} {what}, {over} over its budget of {allowed}"
                ));
            }
        }
    }
    for program in budgets.keys().filter(|program| sizes.iter().all(|size| size.program != **program)) {
        lines.push(format!("{FILE} has a budget for {program}, which is no program"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(instructions: u64, stack_bytes: u64) -> Size {
        Size {
            program: "ingress".to_owned(),
            instructions,
            verified_instructions: 10,
            stack_bytes,
            jited_bytes: 0,
        }
    }

    fn budgets() -> BTreeMap<String, Budget> {
        let budget = Budget { instructions: 100, verified_instructions: 10, stack_bytes: 256 };
        BTreeMap::from([("ingress".to_owned(), budget)])
    }

    #[test]
    fn says_nothing_within_the_budget() {
        assert_eq!(excess(&[size(100, 256)], &budgets()), Vec::<String>::new());
    }

    #[test]
    fn says_by_how_much_a_program_is_over() {
        let lines = excess(&[size(103, 264)], &budgets());
        assert_eq!(
            lines,
            [
                "program ingress has 103 instructions, 3 over its budget of 100",
                "program ingress has 264 stack bytes, 8 over its budget of 256",
            ]
        );
    }

    #[test]
    fn wants_a_budget_for_each_program_and_a_program_for_each_budget() {
        let mut other = size(1, 1);
        other.program = "egress".to_owned();
        assert_eq!(excess(&[other], &budgets()).len(), 2);
    }
}
