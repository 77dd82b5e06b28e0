//! System calls made by another process: its thread is stopped, its registers are set, and it goes on as if nothing had
//! been. Nothing else can say what a process under Landlock may do.

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

const SYS_CLOSE: u64 = 3;
const SYS_OPENAT: u64 = 257;
const O_RDONLY: u64 = 0;
const O_WRONLY: u64 = 1;
const O_CLOEXEC: u64 = 0o2_000_000;
/// `syscall`, read backwards.
const SYSCALL: i64 = 0x050f;

/// A process whose first thread is stopped; dropped, it goes on.
pub(crate) struct Injector {
    pid: Pid,
}

impl Injector {
    /// Stops a process; elsewhere than on `x86_64`, whose registers are known here, there is none.
    pub(crate) fn attach(pid: i32) -> Option<Self> {
        if std::env::consts::ARCH != "x86_64" {
            eprintln!("skipped: system calls can be made for another process on x86_64 only");
            return None;
        }
        let pid = Pid::from_raw(pid);
        ptrace::attach(pid).unwrap();
        waitpid(pid, None).unwrap();
        Some(Self { pid })
    }

    /// Opens a file and closes it again; the error's name if it can't.
    pub(crate) fn open_to_read(&mut self, path: &str) -> Result<(), String> {
        self.open(path, O_RDONLY)
    }

    pub(crate) fn open_to_write(&mut self, path: &str) -> Result<(), String> {
        self.open(path, O_WRONLY)
    }

    #[allow(
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        reason = "words of the other process's memory"
    )]
    fn open(&mut self, path: &str, how: u64) -> Result<(), String> {
        // Below its stack, and what a function without one of its own may use.
        let at = (ptrace::getregs(self.pid).unwrap().rsp - 8192) & !7;
        let mut bytes = path.as_bytes().to_vec();
        bytes.resize(bytes.len() / 8 * 8 + 8, 0);
        for (index, word) in bytes.chunks(8).enumerate() {
            let word = i64::from_ne_bytes(word.try_into().unwrap());
            ptrace::write(self.pid, (at + 8 * index as u64) as ptrace::AddressType, word).unwrap();
        }
        let result = self.call(SYS_OPENAT, [0, at, how | O_CLOEXEC]);
        if result < 0 {
            return Err(format!("{:?}", Errno::from_raw(i32::try_from(-result).unwrap())));
        }
        assert_eq!(self.call(SYS_CLOSE, [result as u64, 0, 0]), 0);
        Ok(())
    }

    #[allow(clippy::cast_possible_wrap, reason = "an error is a small negative number")]
    fn call(&mut self, number: u64, arguments: [u64; 3]) -> i64 {
        let before = ptrace::getregs(self.pid).unwrap();
        let mut registers = before;
        // It waits in a system call, so there is the instruction that makes one just before where it goes on.
        registers.rip -= 2;
        let instruction = ptrace::read(self.pid, registers.rip as ptrace::AddressType).unwrap();
        assert_eq!(instruction & 0xffff, SYSCALL, "the agent's first thread waits in a system call");
        registers.rax = number;
        // None that the kernel would go back to.
        registers.orig_rax = u64::MAX;
        [registers.rdi, registers.rsi, registers.rdx] = arguments;
        ptrace::setregs(self.pid, registers).unwrap();
        ptrace::step(self.pid, None).unwrap();
        waitpid(self.pid, None).unwrap();
        let result = ptrace::getregs(self.pid).unwrap().rax as i64;
        ptrace::setregs(self.pid, before).unwrap();
        result
    }
}

impl Drop for Injector {
    fn drop(&mut self) {
        ptrace::detach(self.pid, None).unwrap();
    }
}
