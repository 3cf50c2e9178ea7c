//! The stack of the deepest chain of calls, from the depth of each subprogram and from who calls whom.

use std::collections::BTreeSet;

use aya_obj::generated::bpf_insn;

/// `call`, with a subprogram of this program as its target.
const CALL: u8 = 0x85;
const PSEUDO_CALL: u8 = 1;

/// 64-bit load, with the address of a subprogram as its value: a callback.
const LOAD_ADDRESS: u8 = 0x18;
const PSEUDO_FUNCTION: u8 = 4;

/// `depths` is in the order of the code, as the verifier numbers subprograms.
pub(super) fn deepest(instructions: &[bpf_insn], depths: &[u64]) -> Option<u64> {
    let calls: Vec<(usize, usize)> = instructions
        .iter()
        .enumerate()
        .filter(|(_, instruction)| is_call(instruction))
        .map(|(index, instruction)| Some((index, target(index, instruction)?)))
        .collect::<Option<_>>()?;
    let starts: BTreeSet<usize> = std::iter::once(0).chain(calls.iter().map(|(_, target)| *target)).collect();
    let starts: Vec<usize> = starts.into_iter().collect();
    if starts.len() != depths.len() {
        return None;
    }
    // The subprogram that an instruction belongs to.
    let subprogram = |index| starts.partition_point(|start| *start <= index) - 1;
    let edges: Vec<(usize, usize)> =
        calls.iter().map(|(index, target)| (subprogram(*index), subprogram(*target))).collect();
    Some(from(0, depths, &edges))
}

fn is_call(instruction: &bpf_insn) -> bool {
    matches!((instruction.code, instruction.src_reg()), (CALL, PSEUDO_CALL) | (LOAD_ADDRESS, PSEUDO_FUNCTION))
}

fn target(index: usize, instruction: &bpf_insn) -> Option<usize> {
    (index + 1).checked_add_signed(isize::try_from(instruction.imm).ok()?)
}

/// The verifier has refused recursion, so this ends.
fn from(subprogram: usize, depths: &[u64], edges: &[(usize, usize)]) -> u64 {
    let callees = edges.iter().filter(|(caller, _)| *caller == subprogram).map(|(_, callee)| *callee);
    depths[subprogram] + callees.map(|callee| from(callee, depths, edges)).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instruction(code: u8, source: u8, imm: i32) -> bpf_insn {
        let mut instruction = bpf_insn {
            code,
            _bitfield_align_1: [],
            _bitfield_1: bpf_insn::new_bitfield_1(0, source),
            off: 0,
            imm,
        };
        instruction.set_src_reg(source);
        instruction
    }

    #[test]
    fn takes_the_deepest_chain_and_not_the_sum() {
        // main calls one and two; one calls three.
        let exit = || instruction(0x95, 0, 0);
        let code = [
            instruction(CALL, PSEUDO_CALL, 2),
            instruction(CALL, PSEUDO_CALL, 3),
            exit(),
            instruction(CALL, PSEUDO_CALL, 2),
            exit(),
            exit(),
            exit(),
        ];
        assert_eq!(deepest(&code, &[100, 10, 50, 20]), Some(150));
        assert_eq!(deepest(&code, &[100, 10, 5, 20]), Some(130));
    }

    #[test]
    fn does_not_guess_when_the_depths_do_not_fit_the_code() {
        assert_eq!(deepest(&[instruction(0x95, 0, 0)], &[8, 8]), None);
        assert_eq!(deepest(&[instruction(0x95, 0, 0)], &[8]), Some(8));
    }
}
