//! What a service manager needs: being told how far the mount is, and a stop that loses nothing.

use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::mounted::Mounted;
use crate::program::{PATIENCE, is_mounted, littfs};

/// A foreground mount of the first root on `m` that tells this socket.
fn serve(home: &Mounted, socket: &str) -> Child {
    let mut command: Command = littfs(&home.base());
    command.args(["mount", "-f", "--root"]).arg(&home.roots()[0]).arg("m");
    command.env("NOTIFY_SOCKET", socket).stdin(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("it starts")
}

fn told(socket: &UnixDatagram) -> String {
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut buffer = [0; 256];
    let length = socket.recv(&mut buffer).expect("it is told");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[test]
fn a_service_is_told_when_the_mount_answers_and_when_it_ends() {
    let home = Mounted::unmounted(1, "");
    let path = home.base().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let mut service = serve(&home, path.to_str().expect("text"));
    assert_eq!(told(&socket), "READY=1");
    fs::create_dir(home.at("t")).expect("the mount answers");
    fs::write(home.at("t/f"), "kept").expect("write");
    kill(Pid::from_raw(i32::try_from(service.id()).expect("a pid")), Signal::SIGTERM)
        .expect("signal");
    assert_eq!(told(&socket), "STOPPING=1");
    assert!(service.wait().expect("it ends").success());
    assert!(!is_mounted(&home.base().join("m")));
    assert_eq!(home.littfs("get", &["t", "f"]).stdout, b"kept");
}

#[test]
fn a_socket_without_a_file_is_told_too() {
    let home = Mounted::unmounted(1, "");
    let name = format!("{}/notify", home.base().display());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let socket = UnixDatagram::bind_addr(&address).expect("a socket");
    let mut service = serve(&home, &format!("@{name}"));
    assert_eq!(told(&socket), "READY=1");
    home.umount();
    assert_eq!(told(&socket), "STOPPING=1");
    assert!(service.wait().expect("it ends").success());
}

#[test]
fn a_mount_that_cannot_be_made_is_never_told_to_be_ready() {
    let home = Mounted::unmounted(1, "");
    let path = home.base().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    fs::write(home.base().join("m/x"), "").expect("write");
    let mut service = serve(&home, path.to_str().expect("text"));
    assert_eq!(service.wait().expect("it ends").code(), Some(2));
    socket.set_nonblocking(true).expect("non-blocking");
    assert!(socket.recv(&mut [0; 16]).is_err(), "nothing was said");
}

#[test]
fn nobody_listening_is_no_reason_not_to_serve() {
    let home = Mounted::unmounted(1, "");
    let path = home.base().join("notify");
    drop(UnixDatagram::bind(&path).expect("a socket"));
    let mut service = serve(&home, path.to_str().expect("text"));
    let mountpoint = home.base().join("m");
    crate::program::wait_until("it is not mounted", || {
        is_mounted(&mountpoint) && fs::read_dir(&mountpoint).is_ok()
    });
    fs::create_dir(home.at("t")).expect("the mount answers");
    kill(Pid::from_raw(i32::try_from(service.id()).expect("a pid")), Signal::SIGTERM)
        .expect("signal");
    assert!(service.wait().expect("it ends").success());
    assert!(!is_mounted(&mountpoint));
}
