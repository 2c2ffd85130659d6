//! How much memory the process has, where the system says so.

use serde::Serialize;

/// Resident memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Resident {
    /// At this moment.
    pub now_bytes: u64,
    /// The most so far.
    pub peak_bytes: u64,
}

impl Resident {
    /// What Linux says of this process; nothing where there is no `/proc`.
    pub fn read() -> Option<Self> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        Self::parse(&status)
    }

    fn parse(status: &str) -> Option<Self> {
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
            Some(kib * 1024)
        };
        Some(Self {
            now_bytes: bytes("VmRSS:")?,
            peak_bytes: bytes("VmHWM:")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_figures_are_read_or_none() {
        let status = "Name:\treplay\nVmHWM:\t   20 kB\nVmRSS:\t    3 kB\n";
        let expected = Resident {
            now_bytes: 3072,
            peak_bytes: 20480,
        };
        assert_eq!(Resident::parse(status), Some(expected));
        assert_eq!(Resident::parse("VmRSS:\t    3 kB\n"), None);
    }
}
