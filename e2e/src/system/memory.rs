//! What a service takes of the machine's memory, as the kernel counts it.

use std::fs;

use super::System;

impl System {
    /// Now, in MiB.
    pub fn memory_mib(&self, service: &str) -> u64 {
        self.memory(service, "VmRSS:")
    }

    /// The most that this process ever had.
    pub fn memory_peak_mib(&self, service: &str) -> u64 {
        self.memory(service, "VmHWM:")
    }

    fn memory(&self, service: &str, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid(service, 0));
        let status = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or_else(|| panic!("{path} has no {field}")) / 1024
    }
}
