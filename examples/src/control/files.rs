//! Reading the configuration on a thread of its own.

use std::path::PathBuf;
use std::sync::mpsc::SyncSender;

use super::{Input, ReadConfig};
use crate::config::Config;
use crate::error::Failure;

/// Reads the file that the program was started with.
#[derive(Debug)]
pub struct FileReader {
    path: PathBuf,
    inputs: SyncSender<Input>,
}

impl FileReader {
    /// Reads `path`; what it holds goes to `inputs`.
    #[must_use]
    pub fn new(path: PathBuf, inputs: SyncSender<Input>) -> Self {
        Self { path, inputs }
    }
}

impl ReadConfig for FileReader {
    fn begin(&mut self) {
        let (path, inputs) = (self.path.clone(), self.inputs.clone());
        let reader = std::thread::Builder::new().name("reload".to_owned());
        let reader = reader.spawn(move || {
            // The program may be about to end.
            let _ = inputs.send(Input::Read(Config::read(&path).map(Box::new)));
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
