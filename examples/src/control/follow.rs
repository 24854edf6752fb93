//! Clients that follow the changes of the table.

use serde_json::json;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::{Answer, Control, Refusal};

/// Clients that follow changes at a time.
const MOST_FOLLOWERS: usize = 16;

/// Changes that wait for a client.
const MOST_UNREAD: usize = 1024;

/// A client, and how many changes it missed because it did not read.
#[derive(Debug)]
pub(super) struct Follower {
    to: mpsc::Sender<String>,
    missed: u64,
}

impl Follower {
    /// Sends a line; whether the client is still there.
    pub(super) fn send(&mut self, line: &str) -> bool {
        if self.missed > 0 {
            let told = json!({ "event": "missed", "changes": self.missed }).to_string();
            if self.to.try_send(told).is_ok() {
                self.missed = 0;
            }
        }
        match self.to.try_send(line.to_owned()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.missed += 1;
                true
            }
            Err(TrySendError::Closed(_)) => false,
        }
    }
}

impl Control {
    pub(super) fn follow(&mut self) -> Result<Answer, Refusal> {
        self.followers.retain(|follower| !follower.to.is_closed());
        if self.followers.len() == MOST_FOLLOWERS {
            let what = format!("{MOST_FOLLOWERS} clients follow the changes already");
            return Err(Refusal::new(503, "", "docs/LIMITS.md", what));
        }
        let (to, from) = mpsc::channel(MOST_UNREAD);
        self.followers.push(Follower { to, missed: 0 });
        Ok(Answer::Lines(from))
    }
}
