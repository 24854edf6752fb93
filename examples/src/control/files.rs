//! Reading the configuration on a thread of its own.

use std::path::PathBuf;
use std::sync::mpsc::SyncSender;

use lw4o6_binding::Clock;

use super::{Input, ReadConfig};
use crate::config::{Config, clock};
use crate::error::Failure;

/// Reads the file that the program was started with.
#[derive(Debug)]
pub struct FileReader {
    path: PathBuf,
    /// That of the program: a lease in the file ends when its time in UTC says.
    // R-059
    clock: Clock,
    inputs: SyncSender<Input>,
}

impl FileReader {
    /// Reads `path`; what it holds goes to `inputs`. The program starts now.
    #[must_use]
    pub fn new(path: PathBuf, inputs: SyncSender<Input>) -> Self {
        Self {
            path,
            clock: clock(),
            inputs,
        }
    }

    /// The same for a program with another clock.
    #[must_use]
    pub fn on(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }
}

impl ReadConfig for FileReader {
    fn begin(&mut self) {
        let (path, clock, inputs) = (self.path.clone(), self.clock, self.inputs.clone());
        let reader = std::thread::Builder::new().name("reload".to_owned());
        let reader = reader.spawn(move || {
            // The program may be about to end.
            let _ = inputs.send(Input::Read(Config::read_on(&path, clock).map(Box::new)));
        });
        if let Err(error) = reader {
            let failure = Failure::run(format!("no thread to read the configuration: {error}"));
            // Full only where hundreds wait; then this one is lost, and says so in the log.
            if self.inputs.try_send(Input::Read(Err(failure))).is_err() {
                tracing::error!(%error, "no thread to read the configuration");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lw4o6_binding::Expiry;
    use lw4o6_wire::Instant;

    use super::*;

    #[test]
    fn a_lease_in_a_file_that_is_read_again_ends_when_its_time_says() {
        let folder = std::env::temp_dir().join(format!("lw4o6-read-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        // The program has been running for an hour, and the lease has another minute.
        let now = clock().utc.as_micros();
        let utc = |micros| lw4o6_binding::Utc::from_micros(micros);
        let started = Clock {
            instant: Instant::ZERO,
            utc: utc(now - 3_600_000_000),
        };
        let toml = "[instance]\nsoftwires = \"s.json\"\n\n\
            [internet]\naddress = \"203.0.113.1\"\nnext-hop = \"203.0.113.2\"\n\n\
            [softwire]\naddress = \"2001:db8:fffe::1/64\"\nnext-hop = \"2001:db8:fffe::2\"\n";
        let json = format!(
            r#"{{"ietf-softwire-br:br-instances": {{"binding": {{"bind-instance": [{{"name": "b",
                "softwire-num-max": 8, "softwire-payload-mtu": 1460, "softwire-path-mru": 1540,
                "binding-table": {{"binding-entry": [{{"binding-ipv6info": "2001:db8:1::1",
                "binding-ipv4-addr": "192.0.2.1", "br-ipv6-addr": "2001:db8:ffff::1",
                "port-set": {{"psid-offset": 6, "psid-len": 8, "psid": 52}},
                "lw4o6-softwire-br:expires": "{}"}}]}}}}]}}}}}}"#,
            utc(now + 60_000_000)
        );
        std::fs::write(folder.join("c.toml"), toml).unwrap();
        std::fs::write(folder.join("s.json"), json).unwrap();
        let (inputs, read) = super::super::channel();
        FileReader::new(folder.join("c.toml"), inputs)
            .on(started)
            .begin();
        let input = read.recv_timeout(Duration::from_secs(10)).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let Input::Read(config) = input else {
            panic!("{input:?}")
        };
        let binding = config.unwrap().instance.bindings[0].binding;
        assert_eq!(binding.expires, Expiry::At(Instant::from_secs(3660)));
    }
}
