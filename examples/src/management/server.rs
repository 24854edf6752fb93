//! The thread that serves management.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::Listeners;
use super::routes::{everything, watching};
use super::socket::SocketPath;
use crate::control::Input;
use crate::error::Failure;

/// Connections at a time on each socket, streams of events among them; more wait to be accepted.
pub const MAX_CONNECTIONS: usize = 64;

/// How long a client may take for the head of a request, the first one and each later one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection over TCP may last: nothing there takes long, and a client that stops reading
/// must not keep its place.
const REMOTE_LIFETIME: Duration = Duration::from_secs(120);

/// How long a local connection may last. A week of events, and who wants more connects again.
const LOCAL_LIFETIME: Duration = Duration::from_secs(7 * 86_400);

/// Pause after a failed accept: out of descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Management at work.
#[derive(Debug)]
pub struct Server {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves `listeners` on a thread of its own; requests go to `inputs`.
    ///
    /// # Errors
    ///
    /// Where the system has no thread or descriptor left.
    pub fn start(listeners: Listeners, inputs: SyncSender<Input>) -> Result<Self, Failure> {
        let wrong = |error: std::io::Error| Failure::run(format!("management: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(MAX_CONNECTIONS)
            .thread_name("management")
            .build()
            .map_err(wrong)?;
        let (stop, stopped) = watch::channel(false);
        let (ready, outcome) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("management".to_owned())
            .spawn(move || {
                runtime.block_on(serve(listeners, inputs, stopped, ready));
                // Streams that wait for events must not keep the program from ending.
                runtime.shutdown_background();
            })
            .map_err(wrong)?;
        match outcome.recv() {
            Ok(Ok(())) => Ok(Self {
                stop,
                thread: Some(thread),
            }),
            Ok(Err(error)) => Err(wrong(error)),
            Err(_) => Err(Failure::run("management: its thread ended")),
        }
    }

    /// Ends it and removes the socket.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The thread may have ended by itself.
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(
    listeners: Listeners,
    inputs: SyncSender<Input>,
    mut stopped: watch::Receiver<bool>,
    ready: SyncSender<std::io::Result<()>>,
) {
    let log = listeners.log.clone();
    let (unix, path, tcp) = match registered(listeners) {
        Ok(registered) => registered,
        Err(error) => {
            // Nobody waits any more where the start was given up.
            let _ = ready.send(Err(error));
            return;
        }
    };
    let _ = ready.send(Ok(()));
    let all = everything(inputs.clone(), log);
    let some = watching(inputs);
    let local = async {
        let Some(unix) = unix else {
            return std::future::pending().await;
        };
        let limit = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        while let Ok(permit) = Arc::clone(&limit).acquire_owned().await {
            match unix.accept().await {
                Ok((stream, _)) => connection(stream, all.clone(), permit, LOCAL_LIFETIME),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    };
    let remote = async {
        let Some(tcp) = tcp else {
            return std::future::pending().await;
        };
        // Its own share, so that a scraper cannot keep the operator out.
        let limit = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        while let Ok(permit) = Arc::clone(&limit).acquire_owned().await {
            match tcp.accept().await {
                Ok((stream, _)) => connection(stream, some.clone(), permit, REMOTE_LIFETIME),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    };
    tokio::select! {
        () = local => {}
        () = remote => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    drop(path);
}

/// The sockets as the runtime knows them.
type Registered = (
    Option<tokio::net::UnixListener>,
    Option<SocketPath>,
    Option<tokio::net::TcpListener>,
);

fn registered(listeners: Listeners) -> std::io::Result<Registered> {
    let Listeners { unix, tcp, log: _ } = listeners;
    let (unix, path) = unix.map_or((None, None), |(unix, path)| (Some(unix), Some(path)));
    let unix = unix.map(tokio::net::UnixListener::from_std).transpose()?;
    if let Some(tcp) = &tcp {
        tcp.set_nonblocking(true)?;
    }
    let tcp = tcp.map(tokio::net::TcpListener::from_std).transpose()?;
    Ok((unix, path, tcp))
}

/// Serves one connection until it ends.
fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: axum::Router,
    permit: OwnedSemaphorePermit,
    lifetime: Duration,
) {
    tokio::spawn(async move {
        let service = TowerToHyperService::new(router);
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(64 << 10);
        // What goes wrong on a connection is its client's affair.
        let served = http.serve_connection(TokioIo::new(stream), service);
        let _ = tokio::time::timeout(lifetime, served).await;
        drop(permit);
    });
}
