//! Telling systemd how far a service is, as `sd_notify(3)` does: short texts to the socket that the
//! environment names. Without one there is nobody to tell.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

const VARIABLE: &str = "NOTIFY_SOCKET";
/// The mount answers.
pub(super) const READY: &str = "READY=1";
/// The mount is ending; what was stored is being made durable.
pub(super) const STOPPING: &str = "STOPPING=1";

/// Tells it. That it cannot be told is no reason to stop serving.
pub(super) fn tell(state: &str) {
    let Some(socket) = std::env::var_os(VARIABLE).filter(|name| !name.is_empty()) else { return };
    if let Err(error) = send(&socket, state) {
        log::warn!("cannot tell {VARIABLE} {}: {error}", socket.display());
    }
}

fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    // A leading `@` stands for the zero byte of a name that is in no file system.
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn sockets_with_and_without_a_file_are_told() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("bound");
        send(path.as_os_str(), READY).expect("sent");
        assert_eq!(received(&socket), "READY=1");

        let name = format!("littfs-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("bound");
        send(format!("@{name}").as_ref(), STOPPING).expect("sent");
        assert_eq!(received(&socket), "STOPPING=1");

        assert!(send("/nowhere/at/all".as_ref(), READY).is_err());
        assert!(send("x".repeat(200).as_ref(), READY).is_err(), "too long for an address");
    }
}
