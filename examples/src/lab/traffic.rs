//! TCP and UDP between kernel hosts, with content that is checked.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use lw4o6_wire::quote::ipv4_quote;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use super::probe::{Answer, icmp_socket, wait_for};
use crate::stopwatch::Stopwatch;

/// How long one step of a transfer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Period of the content; prime, so that no power of two hides a swap.
const PERIOD: usize = 65_521;

/// Servers: UDP datagrams come back as they are, TCP connections get content.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Serve {
    /// Where to listen, both by UDP and by TCP.
    pub at: SocketAddrV4,
    /// Bytes that each TCP connection gets.
    pub bytes: u64,
}

/// A TCP download.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Download {
    /// Source address.
    pub from: Ipv4Addr,
    /// Source port, or 0 for one that the kernel chooses.
    pub port: u16,
    /// The server.
    pub to: SocketAddrV4,
    /// Bytes to come.
    pub bytes: u64,
}

/// TCP downloads, one after the other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Downloads {
    /// Each of them.
    pub each: Download,
    /// The last one begins within so many seconds.
    pub seconds: f64,
}

/// What downloads were like.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DownloadedAll {
    /// Those that came whole and right.
    pub intact: u32,
    /// Those that came with other content than was sent.
    pub wrong: u32,
    /// Those that did not come to their end.
    pub broken: u32,
    /// Bytes that came.
    pub bytes: u64,
    /// Why the last one that broke did so.
    pub why: Option<String>,
}

/// What a download was like.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Downloaded {
    /// Source port.
    pub port: u16,
    /// Bytes that came.
    pub bytes: u64,
    /// Whether they were the right ones.
    pub intact: bool,
    /// How long it took.
    pub seconds: f64,
}

impl Downloaded {
    /// Megabits per second, one decimal.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub fn mbits(&self) -> f64 {
        (self.bytes as f64 * 8e-5 / self.seconds.max(1e-9)).round() / 10.0
    }
}

/// UDP datagrams to a server, and back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exchange {
    /// Source address.
    pub from: Ipv4Addr,
    /// Source port, or 0 for one that the kernel chooses.
    pub port: u16,
    /// The server.
    pub to: SocketAddrV4,
    /// Bytes in each datagram.
    pub len: usize,
    /// Number of datagrams, one after the other.
    pub count: u32,
}

/// What an exchange was like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchanged {
    /// Source port.
    pub port: u16,
    /// Datagrams that came back as they were.
    pub intact: u32,
    /// Datagrams that came back different.
    pub wrong: u32,
}

/// A UDP datagram to a port where nobody should be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Knock {
    /// Source address.
    pub from: Ipv4Addr,
    /// Source port, or 0 for one that the kernel chooses.
    pub port: u16,
    /// Where nobody should be.
    pub to: SocketAddrV4,
}

/// Starts servers in the background.
///
/// # Errors
///
/// Where the address is not to be had.
pub fn serve(serve: &Serve) -> Result<(), String> {
    let wrong = |error: std::io::Error| format!("server {}: {error}", serve.at);
    let udp = UdpSocket::bind(serve.at).map_err(wrong)?;
    let tcp = TcpListener::bind(serve.at).map_err(wrong)?;
    let bytes = serve.bytes;
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65_535];
        loop {
            if let Ok((len, from)) = udp.recv_from(&mut buffer) {
                // A lost answer shows at the client.
                let _ = udp.send_to(buffer.get(..len).unwrap_or_default(), from);
            }
        }
    });
    std::thread::spawn(move || {
        for stream in tcp.incoming().map_while(Result::ok) {
            // What went wrong shows at the client.
            std::thread::spawn(move || upload(stream, bytes));
        }
    });
    Ok(())
}

/// Downloads and checks the content.
///
/// # Errors
///
/// Where there is no connection, or it stalls.
pub fn download(download: &Download) -> Result<Downloaded, String> {
    let wrong = |error: std::io::Error| format!("download from {}: {error}", download.to);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).map_err(wrong)?;
    let from = SocketAddrV4::new(download.from, download.port);
    socket.bind(&from.into()).map_err(wrong)?;
    let watch = Stopwatch::start();
    socket
        .connect_timeout(&download.to.into(), PATIENCE)
        .map_err(wrong)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).map_err(wrong)?;
    let port = stream.local_addr().map_err(wrong)?.port();
    let (mut bytes, mut intact) = (0u64, true);
    let content = content();
    let mut buffer = vec![0; PERIOD];
    loop {
        let len = stream.read(&mut buffer).map_err(wrong)?;
        let read = buffer.get(..len).unwrap_or_default();
        if read.is_empty() {
            break;
        }
        let at = usize::try_from(bytes % PERIOD as u64).unwrap_or(0);
        intact &= content.get(at..at + len) == Some(read);
        bytes += len as u64;
    }
    intact &= bytes == download.bytes;
    Ok(Downloaded {
        port,
        bytes,
        intact,
        seconds: watch.elapsed().as_secs_f64(),
    })
}

/// Downloads again and again. A connection that breaks is counted and is no error.
///
/// # Errors
///
/// None; the same form as the other requests.
pub fn downloads(downloads: &Downloads) -> Result<DownloadedAll, String> {
    let watch = Stopwatch::start();
    let mut all = DownloadedAll::default();
    while watch.elapsed().as_secs_f64() < downloads.seconds {
        match download(&downloads.each) {
            Ok(one) => {
                all.bytes += one.bytes;
                if one.intact {
                    all.intact += 1;
                } else if one.bytes == downloads.each.bytes {
                    all.wrong += 1;
                } else {
                    all.broken += 1;
                }
            }
            Err(why) => {
                all.broken += 1;
                all.why = Some(why);
            }
        }
    }
    Ok(all)
}

/// Sends datagrams and checks what comes back.
///
/// # Errors
///
/// Where the source address is not to be had.
pub fn exchange(exchange: &Exchange) -> Result<Exchanged, String> {
    let wrong = |error: std::io::Error| format!("datagrams to {}: {error}", exchange.to);
    let socket = UdpSocket::bind((exchange.from, exchange.port)).map_err(wrong)?;
    socket.connect(exchange.to).map_err(wrong)?;
    socket
        .set_read_timeout(Some(Duration::from_secs(2)))
        .map_err(wrong)?;
    let port = socket.local_addr().map_err(wrong)?.port();
    let mut done = Exchanged {
        port,
        intact: 0,
        wrong: 0,
    };
    let mut buffer = vec![0; 65_535];
    for number in 0..exchange.count {
        let sent: Vec<u8> = content()
            .into_iter()
            .skip(number as usize)
            .take(exchange.len)
            .collect();
        // What was lost, or refused by ICMP, is counted by not being counted.
        if socket.send(&sent).is_err() {
            continue;
        }
        match socket.recv(&mut buffer) {
            Ok(len) if buffer.get(..len) == Some(&sent) => done.intact += 1,
            Ok(_) => done.wrong += 1,
            Err(_) => {}
        }
    }
    Ok(done)
}

/// Sends a datagram and waits for the ICMP error about it.
///
/// # Errors
///
/// Where the kernel does not let us.
pub fn knock(knock: &Knock) -> Result<Option<Answer>, String> {
    let wrong = |error: std::io::Error| format!("datagram to {}: {error}", knock.to);
    let mut icmp = icmp_socket(knock.from).map_err(wrong)?;
    let socket = UdpSocket::bind((knock.from, knock.port)).map_err(wrong)?;
    let port = socket.local_addr().map_err(wrong)?.port();
    let watch = Stopwatch::start();
    socket.send_to(b"knock", knock.to).map_err(wrong)?;
    let ports = [port.to_be_bytes(), knock.to.port().to_be_bytes()].concat();
    let wanted = |message: &[u8], _| {
        ipv4_quote(message).is_ok_and(|quoted| {
            quoted.header.dst() == *knock.to.ip() && quoted.payload.starts_with(&ports)
        })
    };
    wait_for(&mut icmp, Duration::from_secs(2), watch, wanted)
}

fn upload(mut stream: TcpStream, bytes: u64) {
    let content = content();
    let mut left = bytes;
    while left > 0 {
        let len = usize::try_from(left).unwrap_or(PERIOD).min(PERIOD);
        if stream
            .write_all(content.get(..len).unwrap_or_default())
            .is_err()
        {
            return;
        }
        left -= len as u64;
    }
}

/// Two periods of the content, so that every piece of one can be compared at once.
fn content() -> Vec<u8> {
    let byte = |at: usize| (at.wrapping_mul(0x9e37_79b1) >> 16).to_le_bytes()[0];
    (0..PERIOD).chain(0..PERIOD).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> SocketAddrV4 {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap();
        let at = SocketAddrV4::new(Ipv4Addr::LOCALHOST, free.port());
        serve(&Serve { at, bytes: 200_000 }).unwrap();
        at
    }

    #[test]
    fn a_download_is_checked_byte_by_byte_and_to_the_end() {
        let to = server();
        let mut plan = Download {
            from: Ipv4Addr::LOCALHOST,
            port: 0,
            to,
            bytes: 200_000,
        };
        let done = download(&plan).unwrap();
        assert!(done.intact);
        assert_eq!(done.bytes, 200_000);
        plan.bytes = 200_001;
        assert!(!download(&plan).unwrap().intact);
    }

    #[test]
    fn datagrams_of_8_kb_come_back_as_they_were() {
        let to = server();
        let plan = Exchange {
            from: Ipv4Addr::LOCALHOST,
            port: 0,
            to,
            len: 8192,
            count: 3,
        };
        let done = exchange(&plan).unwrap();
        assert_eq!((done.intact, done.wrong), (3, 0));
    }

    #[test]
    fn the_rate_counts_bits() {
        let done = Downloaded {
            port: 1,
            bytes: 1_000_000,
            intact: true,
            seconds: 2.0,
        };
        assert!((done.mbits() - 4.0).abs() < 1e-9);
    }
}
