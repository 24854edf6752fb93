//! What interfaces count.

use serde::Serialize;

/// What an interface counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct IoCounters {
    /// Frames received and passed on.
    pub received: u64,
    /// Frames sent.
    pub transmitted: u64,
    /// Frames that were longer than the interface's MTU allows.
    pub too_long: u64,
    /// Joined segments that were cut apart; `received` counts the segments.
    pub cut: u64,
    /// Joined segments of a kind that is not cut.
    pub not_cut: u64,
    /// Checksums completed for a sender on the same machine.
    pub checksums_completed: u64,
    /// VLAN tags put back.
    pub tags_restored: u64,
    /// Frames that the kernel did not take.
    pub not_sent: u64,
    /// Frames that the kernel dropped because we were late.
    pub kernel_drops: u64,
    /// Times that the interface went away.
    pub link_losses: u64,
}

impl std::ops::AddAssign for IoCounters {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.transmitted += other.transmitted;
        self.too_long += other.too_long;
        self.cut += other.cut;
        self.not_cut += other.not_cut;
        self.checksums_completed += other.checksums_completed;
        self.tags_restored += other.tags_restored;
        self.not_sent += other.not_sent;
        self.kernel_drops += other.kernel_drops;
        self.link_losses += other.link_losses;
    }
}

impl IoCounters {
    /// What an operator should know about, in words; only what happened.
    pub fn remarkable(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = [
            (
                "frames too long for the interface, not taken; the MTU of a sender on this link is larger",
                self.too_long,
            ),
            (
                "joined segments of a kind that is not cut; turn offloads off at the interface and at senders on this machine: ethtool -K IF tso off gso off gro off lro off",
                self.not_cut,
            ),
            ("frames not sent", self.not_sent),
            (
                "frames lost in the kernel because we were late",
                self.kernel_drops,
            ),
            ("times that the interface went away", self.link_losses),
        ];
        all.into_iter().filter(|&(_, count)| count > 0)
    }
}
