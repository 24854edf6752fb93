//! The forwarder that does nothing, in the background of an agent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::packet_io::{InterfaceName, OpenOptions, PacketIo, null, open};

/// A forwarder at work.
#[derive(Debug)]
pub struct NullForwarder {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<[u64; 2], String>>,
}

impl NullForwarder {
    /// Starts one between two kernel interfaces, over rings.
    ///
    /// # Errors
    ///
    /// Where an interface cannot be opened.
    pub fn start(interfaces: &[String; 2]) -> Result<Self, String> {
        let open = |name: &String| {
            let options = OpenOptions::default();
            open(&InterfaceName::Kernel(name.clone()), &options).map_err(|error| error.to_string())
        };
        let [a, b] = interfaces;
        let (mut a, mut b) = (open(a)?, open(b)?);
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let [a, b]: [&mut dyn PacketIo; 2] = [&mut *a, &mut *b];
            null::forward(a, b, &stopped).map_err(|error| error.to_string())
        });
        Ok(Self { stop, thread })
    }

    /// Stops it; returns the frames it received from either.
    ///
    /// # Errors
    ///
    /// Where an interface failed.
    pub fn stop(self) -> Result<[u64; 2], String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| "the forwarder has panicked".to_owned())?
    }
}
