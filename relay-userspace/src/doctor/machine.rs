//! Checks of the machine, whatever it relays.

use super::facts::Machine;
use super::finding::Finding;
use crate::host::{OLDEST_KERNEL, kernel_suffices};

const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// All checks of the machine.
pub(super) fn check(machine: &Machine) -> Vec<Finding> {
    vec![kernel(machine), jit(machine), capabilities(machine), bpf_fs(machine)]
}

fn kernel(machine: &Machine) -> Finding {
    let release = &machine.release;
    if kernel_suffices(release) {
        return Finding::ok("kernel", "", format!("Linux {release}"));
    }
    let (major, minor) = OLDEST_KERNEL;
    Finding::fail(
        "kernel",
        "",
        format!("Linux {release} is older than {major}.{minor}: the programs do not load"),
        format!(
            "boot a kernel of {major}.{minor} or newer (Debian 12 has one: apt-get install linux-image-amd64)"
        ),
    )
}

fn jit(machine: &Machine) -> Finding {
    match machine.jit {
        Some(0) => Finding::warn(
            "bpf_jit",
            "",
            "the BPF compiler is off: programs are interpreted, several times slower",
            "sysctl -w net.core.bpf_jit_enable=1",
        ),
        Some(_) => Finding::ok("bpf_jit", "", "programs are compiled to machine code"),
        // The setting shows in the first network namespace only.
        None => Finding::ok(
            "bpf_jit",
            "",
            "whether programs are compiled does not show in this network namespace",
        ),
    }
}

fn capabilities(machine: &Machine) -> Finding {
    let has = |capability: u32| machine.capabilities & (1 << capability) != 0;
    let mut missing = Vec::new();
    if !has(CAP_BPF) && !has(CAP_SYS_ADMIN) {
        missing.push("CAP_BPF");
    }
    if !has(CAP_NET_ADMIN) {
        missing.push("CAP_NET_ADMIN");
    }
    if !missing.is_empty() {
        return Finding::fail(
            "capabilities",
            "",
            format!("{} missing: the programs cannot be loaded and attached", missing.join(" and ")),
            "run as root, or: setcap cap_bpf,cap_net_admin+ep \"$(command -v xdp-relay)\"",
        );
    }
    let speed = if has(CAP_PERFMON) || has(CAP_SYS_ADMIN) {
        "with CAP_PERFMON: no speculation barriers"
    } else {
        "without CAP_PERFMON the verifier adds speculation barriers, which cost a little"
    };
    Finding::ok("capabilities", "", format!("CAP_BPF and CAP_NET_ADMIN; {speed}"))
}

fn bpf_fs(machine: &Machine) -> Finding {
    let directory = machine.pin_directory.display().to_string();
    if machine.bpf_fs {
        return Finding::ok("bpffs", "", format!("{directory} is on a BPF filesystem"));
    }
    let usual = "/sys/fs/bpf";
    let mount = if machine.pin_directory.starts_with(usual) { usual } else { directory.as_str() };
    let fix = format!("mount -t bpf -o mode=0711 bpf {mount}");
    if mount == usual && machine.capabilities & (1 << CAP_SYS_ADMIN) != 0 {
        Finding::warn(
            "bpffs",
            "",
            format!("no BPF filesystem at {usual} yet; `xdp-relay run` mounts one"),
            fix,
        )
    } else {
        let message =
            format!("{directory} is not on a BPF filesystem: nothing can be pinned, so nothing starts");
        Finding::fail("bpffs", "", message, fix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;
    use crate::doctor::sample;

    fn found(check: &str, change: impl FnOnce(&mut Machine)) -> Finding {
        let mut machine = sample::machine();
        change(&mut machine);
        super::check(&machine).into_iter().find(|finding| finding.check == check).unwrap()
    }

    #[test]
    fn a_good_machine_passes() {
        assert!(check(&sample::machine()).iter().all(|finding| finding.level == Level::Ok));
    }

    #[test]
    fn an_old_kernel_fails() {
        for old in ["5.10.0-28-amd64", "6.0.19", "nonsense"] {
            let finding = found("kernel", |machine| machine.release = old.into());
            assert_eq!(finding.level, Level::Fail);
            assert!(finding.message.contains("do not load"), "{}", finding.message);
        }
    }

    #[test]
    fn an_interpreter_is_worth_a_warning() {
        let finding = found("bpf_jit", |machine| machine.jit = Some(0));
        assert_eq!(
            (finding.level, finding.fix.unwrap().as_str()),
            (Level::Warn, "sysctl -w net.core.bpf_jit_enable=1")
        );
        assert_eq!(found("bpf_jit", |machine| machine.jit = None).level, Level::Ok);
    }

    #[test]
    fn missing_capabilities_are_named() {
        let finding = found("capabilities", |machine| machine.capabilities = 0);
        assert_eq!(finding.level, Level::Fail);
        assert!(finding.message.starts_with("CAP_BPF and CAP_NET_ADMIN missing"));
        let finding = found("capabilities", |machine| machine.capabilities = 1 << CAP_BPF);
        assert!(finding.message.starts_with("CAP_NET_ADMIN missing"));
        let least = 1 << CAP_BPF | 1 << CAP_NET_ADMIN;
        let finding = found("capabilities", |machine| machine.capabilities = least);
        assert_eq!(finding.level, Level::Ok);
        assert!(finding.message.contains("speculation barriers"));
    }

    #[test]
    fn a_missing_bpf_filesystem_fails_unless_it_can_be_mounted() {
        let finding = found("bpffs", |machine| machine.bpf_fs = false);
        assert_eq!(finding.level, Level::Warn);
        let finding = found("bpffs", |machine| {
            machine.bpf_fs = false;
            machine.capabilities = 0;
        });
        assert_eq!(finding.level, Level::Fail);
        assert_eq!(finding.fix.unwrap(), "mount -t bpf -o mode=0711 bpf /sys/fs/bpf");
        let finding = found("bpffs", |machine| {
            machine.bpf_fs = false;
            machine.pin_directory = "/run/pins".into();
        });
        assert_eq!(
            (finding.level, finding.fix.unwrap().as_str()),
            (Level::Fail, "mount -t bpf -o mode=0711 bpf /run/pins")
        );
    }
}
