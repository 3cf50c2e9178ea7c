//! Loads each XDP program of an object with the verifier's statistics switched on.
//!
//! aya loads the maps; the programs go in by the bare system call, because aya shows the verifier's log only when it
//! refuses a program.

use std::{
    collections::{BTreeMap, HashSet},
    io, mem,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
};

use anyhow::{Context as _, Result, anyhow, bail};
use aya::{Ebpf, EbpfLoader, maps::Map};
use aya_obj::{
    Function, Object, Program,
    generated::{bpf_attr, bpf_cmd, bpf_prog_info, bpf_prog_type},
};

use super::{Size, chain};

/// `BPF_LOG_STATS` of the kernel: a few lines at the end instead of every state.
const LOG_STATS: u32 = 4;

/// `BPF_LOG_LEVEL1` and statistics: every instruction on the way to a refusal.
const LOG_STATES: u32 = 1 | LOG_STATS;

/// Since Linux 6.4 a log that is longer loses its beginning.
const LOG_BYTES: usize = 16 << 20;

/// How much of the way to a refusal is worth reading.
const REASON_LINES: usize = 40;

/// The flow table's size does not change the code that the verifier sees.
const SMALL_MAPS: &[(&str, u32)] = &[("FLOWS", 1024), ("FLOW_SPILL", 64)];

pub(super) fn sizes(bytes: &[u8]) -> Result<Vec<Size>> {
    let mut loader = EbpfLoader::new();
    for (name, entries) in SMALL_MAPS {
        loader.map_max_entries(name, *entries);
    }
    let maps = loader.load(bytes).context("cannot create its maps")?;

    let mut object = Object::parse(bytes).context("cannot parse it")?;
    let btf = load_btf(&mut object)?;
    relocate(&mut object, &maps)?;
    let programs: BTreeMap<_, _> = object.programs.iter().collect();
    programs
        .into_iter()
        .map(|(name, program)| {
            let function = object.functions.get(&program.function_key()).context("it has no code")?;
            let loaded = load(name, program, function, btf.as_ref())?;
            size(name, function, &loaded)
        })
        .collect()
}

fn load_btf(object: &mut Object) -> Result<Option<OwnedFd>> {
    let Some(features) = aya::features().btf() else { return Ok(None) };
    let Some(btf) = object.fixup_and_sanitize_btf(features).context("cannot use its BTF")? else {
        return Ok(None);
    };
    let bytes = btf.to_bytes();
    let mut attribute = zeroed_attribute();
    // SAFETY: every field of this variant of the union is an integer.
    let fields = unsafe { &mut attribute.__bindgen_anon_7 };
    fields.btf_size = u32::try_from(bytes.len())?;
    fields.btf = bytes.as_ptr() as u64;
    descriptor(bpf_cmd::BPF_BTF_LOAD, &mut attribute).context("the kernel refuses its BTF").map(Some)
}

fn relocate(object: &mut Object, maps: &Ebpf) -> Result<()> {
    let descriptors =
        maps.maps().map(|(name, map)| Ok((name, map_descriptor(map)?))).collect::<Result<Vec<_>>>()?;
    let definitions = mem::take(&mut object.maps);
    let known = descriptors.iter().filter_map(|(name, fd)| Some((*name, *fd, definitions.get(*name)?)));
    let text: HashSet<_> = object.functions.keys().map(|(section, _)| *section).collect();
    object.relocate_maps(known, &text).context("cannot fill in its maps")?;
    object.relocate_calls(&text).context("cannot fill in its calls")?;
    object.sanitize_functions(aya::features());
    Ok(())
}

fn map_descriptor(map: &Map) -> Result<RawFd> {
    match map {
        Map::Array(data)
        | Map::ArrayOfMaps(data)
        | Map::DevMap(data)
        | Map::HashMap(data)
        | Map::HashOfMaps(data)
        | Map::LpmTrie(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::PerCpuHashMap(data)
        | Map::PerCpuLruHashMap(data)
        | Map::ProgramArray(data)
        | Map::RingBuf(data)
        | Map::Unsupported(data)
        | Map::XskMap(data) => Ok(data.fd().as_fd().as_raw_fd()),
        other => bail!("it has a map of a kind unknown here: {other:?}"),
    }
}

#[derive(Debug)]
struct Loaded {
    program: OwnedFd,
    log: String,
}

fn load(name: &str, program: &Program, function: &Function, btf: Option<&OwnedFd>) -> Result<Loaded> {
    let (result, log) = load_with_log(program, function, btf, LOG_STATS)?;
    if let Ok(program) = result {
        return Ok(Loaded { program, log });
    }
    // Again, for the reason.
    let (result, log) = load_with_log(program, function, btf, LOG_STATES)?;
    let lines: Vec<_> = log.lines().collect();
    let end = lines[lines.len().saturating_sub(REASON_LINES)..].join("\n");
    let program = result.map_err(|error| anyhow!("the kernel refuses program {name}: {error}\n{end}"))?;
    Ok(Loaded { program, log })
}

fn load_with_log(
    program: &Program,
    function: &Function,
    btf: Option<&OwnedFd>,
    level: u32,
) -> Result<(io::Result<OwnedFd>, String)> {
    let functions = function.func_info.func_info_bytes();
    let lines = function.line_info.line_info_bytes();
    let mut log = vec![0u8; LOG_BYTES];
    let mut attribute = zeroed_attribute();
    // SAFETY: every field of this variant of the union is an integer.
    let fields = unsafe { &mut attribute.__bindgen_anon_3 };
    fields.prog_type = bpf_prog_type::BPF_PROG_TYPE_XDP as u32;
    fields.insns = function.instructions.as_ptr() as u64;
    fields.insn_cnt = u32::try_from(function.instructions.len())?;
    fields.license = program.license.as_ptr() as u64;
    fields.log_level = level;
    fields.log_buf = log.as_mut_ptr() as u64;
    fields.log_size = u32::try_from(log.len())?;
    if let Some(btf) = btf {
        fields.prog_btf_fd = u32::try_from(btf.as_raw_fd())?;
        fields.func_info = functions.as_ptr() as u64;
        fields.func_info_cnt = u32::try_from(function.func_info.len())?;
        fields.func_info_rec_size = u32::try_from(function.func_info_rec_size)?;
        fields.line_info = lines.as_ptr() as u64;
        fields.line_info_cnt = u32::try_from(function.line_info.len())?;
        fields.line_info_rec_size = u32::try_from(function.line_info_rec_size)?;
    }
    let result = descriptor(bpf_cmd::BPF_PROG_LOAD, &mut attribute);
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    Ok((result, String::from_utf8_lossy(&log[..end]).into_owned()))
}

fn size(name: &str, function: &Function, loaded: &Loaded) -> Result<Size> {
    let unexpected = || format!("the verifier's statistics for {name} are not understood:\n{}", loaded.log);
    Ok(Size {
        program: name.to_owned(),
        instructions: function.instructions.len() as u64,
        verified_instructions: verified_instructions(&loaded.log).with_context(unexpected)?,
        stack_bytes: stack_depths(&loaded.log)
            .and_then(|depths| chain::deepest(&function.instructions, &depths))
            .with_context(unexpected)?,
        jited_bytes: u64::from(information(&loaded.program)?.jited_prog_len),
    })
}

/// `processed 415 insns (limit 1000000) max_states_per_insn 1 ...`
fn verified_instructions(log: &str) -> Option<u64> {
    log.lines().find_map(|line| line.strip_prefix("processed ")?.split(' ').next()?.parse().ok())
}

/// `stack depth 96+32+0`: of the program and of each of its subprograms, in the order of the code.
fn stack_depths(log: &str) -> Option<Vec<u64>> {
    let depths = log.lines().find_map(|line| line.strip_prefix("stack depth "))?;
    depths.split('+').map(|depth| depth.trim().parse().ok()).collect()
}

fn information(program: &OwnedFd) -> Result<bpf_prog_info> {
    // SAFETY: zero is a value of every field.
    let mut info: bpf_prog_info = unsafe { mem::zeroed() };
    let mut attribute = zeroed_attribute();
    attribute.info.bpf_fd = u32::try_from(program.as_raw_fd())?;
    attribute.info.info = &raw mut info as u64;
    attribute.info.info_len = u32::try_from(size_of::<bpf_prog_info>())?;
    call(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attribute).context("cannot read the program's information")?;
    Ok(info)
}

fn zeroed_attribute() -> bpf_attr {
    // SAFETY: zero is a value of every field of every variant.
    unsafe { mem::zeroed() }
}

fn descriptor(command: bpf_cmd, attribute: &mut bpf_attr) -> io::Result<OwnedFd> {
    let fd = call(command, attribute)?;
    // SAFETY: the kernel has just made this descriptor, for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn call(command: bpf_cmd, attribute: &mut bpf_attr) -> io::Result<RawFd> {
    // SAFETY: `attribute` is valid for its size; what it points to outlives the call in every caller.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command as libc::c_long, &raw mut *attribute, size_of::<bpf_attr>())
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    RawFd::try_from(result).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "verification time 812 usec\nstack depth 96+32+0\n\
        processed 1415 insns (limit 1000000) max_states_per_insn 4 total_states 90 peak_states 90 mark_read 12\n";

    #[test]
    fn reads_the_verifier_s_statistics() {
        assert_eq!(verified_instructions(LOG), Some(1415));
        assert_eq!(stack_depths(LOG), Some(vec![96, 32, 0]));
    }

    #[test]
    fn does_not_invent_numbers() {
        assert_eq!(verified_instructions("verification time 812 usec\n"), None);
        assert_eq!(stack_depths("stack depth ?\n"), None);
    }
}
