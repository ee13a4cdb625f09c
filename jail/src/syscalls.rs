//! Owns the two lists of system calls: those any program may make, and the names of those it may not. The first was
//! derived from the default profile of moby, less what only serves to reach the kernel's insides: key rings, tracing,
//! other processes' memory, asynchronous rings, mounts and namespaces.
//!
//! Numbers are those of x86-64; another architecture needs its own lists before anything is fenced there.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("the launcher's system call lists are written for x86-64 Linux only");

macro_rules! calls {
    ($($name:ident=$number:literal)*) => { &[$(($number, stringify!($name))),*] };
}

/// A number and its name.
pub(crate) type Call = (u32, &'static str);

/// Allowed whatever the arguments.
#[rustfmt::skip]
pub(crate) const ALLOWED: &[Call] = calls! {
    read=0 write=1 open=2 close=3 stat=4 fstat=5 lstat=6 poll=7 lseek=8 mmap=9 mprotect=10 munmap=11 brk=12
    rt_sigaction=13 rt_sigprocmask=14 rt_sigreturn=15 pread64=17 pwrite64=18 readv=19 writev=20 access=21
    pipe=22 select=23 sched_yield=24 mremap=25 msync=26 mincore=27 madvise=28 shmget=29 shmat=30 shmctl=31
    dup=32 dup2=33 pause=34 nanosleep=35 getitimer=36 alarm=37 setitimer=38 getpid=39 sendfile=40 connect=42
    accept=43 sendto=44 recvfrom=45 sendmsg=46 recvmsg=47 shutdown=48 bind=49 listen=50 getsockname=51
    getpeername=52 socketpair=53 setsockopt=54 getsockopt=55 fork=57 vfork=58 execve=59 exit=60 wait4=61 kill=62
    uname=63 semget=64 semop=65 semctl=66 shmdt=67 msgget=68 msgsnd=69 msgrcv=70 msgctl=71 fcntl=72 flock=73
    fsync=74 fdatasync=75 truncate=76 ftruncate=77 getdents=78 getcwd=79 chdir=80 fchdir=81 rename=82 mkdir=83
    rmdir=84 creat=85 link=86 unlink=87 symlink=88 readlink=89 chmod=90 fchmod=91 chown=92 fchown=93 lchown=94
    umask=95 gettimeofday=96 getrlimit=97 getrusage=98 sysinfo=99 times=100 getuid=102 getgid=104 setuid=105
    setgid=106 geteuid=107 getegid=108 setpgid=109 getppid=110 getpgrp=111 setsid=112 setreuid=113 setregid=114
    getgroups=115 setgroups=116 setresuid=117 getresuid=118 setresgid=119 getresgid=120 getpgid=121 setfsuid=122
    setfsgid=123 getsid=124 capget=125 capset=126 rt_sigpending=127 rt_sigtimedwait=128 rt_sigqueueinfo=129
    rt_sigsuspend=130 sigaltstack=131 utime=132 mknod=133 statfs=137 fstatfs=138 getpriority=140 setpriority=141
    sched_setparam=142 sched_getparam=143 sched_setscheduler=144 sched_getscheduler=145
    sched_get_priority_max=146 sched_get_priority_min=147 sched_rr_get_interval=148 mlock=149 munlock=150
    mlockall=151 munlockall=152 prctl=157 arch_prctl=158 sync=162 gettid=186 readahead=187
    setxattr=188 lsetxattr=189 fsetxattr=190 getxattr=191 lgetxattr=192 fgetxattr=193 listxattr=194
    llistxattr=195 flistxattr=196 removexattr=197 lremovexattr=198 fremovexattr=199 tkill=200 time=201 futex=202
    sched_setaffinity=203 sched_getaffinity=204 io_setup=206 io_destroy=207 io_getevents=208 io_submit=209
    io_cancel=210 epoll_create=213 remap_file_pages=216 getdents64=217 set_tid_address=218 restart_syscall=219
    semtimedop=220 fadvise64=221 timer_create=222 timer_settime=223 timer_gettime=224 timer_getoverrun=225
    timer_delete=226 clock_gettime=228 clock_getres=229 clock_nanosleep=230 exit_group=231 epoll_wait=232
    epoll_ctl=233 tgkill=234 utimes=235 mq_open=240 mq_unlink=241 mq_timedsend=242 mq_timedreceive=243
    mq_notify=244 mq_getsetattr=245 waitid=247 ioprio_set=251 ioprio_get=252 inotify_init=253
    inotify_add_watch=254 inotify_rm_watch=255 openat=257 mkdirat=258 mknodat=259 fchownat=260 futimesat=261
    newfstatat=262 unlinkat=263 renameat=264 linkat=265 symlinkat=266 readlinkat=267 fchmodat=268 faccessat=269
    pselect6=270 ppoll=271 set_robust_list=273 get_robust_list=274 splice=275 tee=276 sync_file_range=277
    vmsplice=278 utimensat=280 epoll_pwait=281 signalfd=282 timerfd_create=283 eventfd=284 fallocate=285
    timerfd_settime=286 timerfd_gettime=287 accept4=288 signalfd4=289 eventfd2=290 epoll_create1=291 dup3=292
    pipe2=293 inotify_init1=294 preadv=295 pwritev=296 rt_tgsigqueueinfo=297 recvmmsg=299
    name_to_handle_at=303 syncfs=306 sendmmsg=307 getcpu=309 sched_setattr=314 sched_getattr=315 renameat2=316
    getrandom=318 memfd_create=319 execveat=322 membarrier=324 mlock2=325 copy_file_range=326 preadv2=327
    pwritev2=328 pkey_mprotect=329 pkey_alloc=330 pkey_free=331 statx=332 io_pgetevents=333 rseq=334
    pidfd_send_signal=424 pidfd_open=434 close_range=436 openat2=437 faccessat2=439 epoll_pwait2=441
    landlock_create_ruleset=444 landlock_add_rule=445 landlock_restrict_self=446 process_mrelease=448
    futex_waitv=449 cachestat=451 fchmodat2=452 map_shadow_stack=453 futex_wake=454 futex_wait=455
    futex_requeue=456 mseal=462 setxattrat=463 getxattrat=464 listxattrat=465 removexattrat=466
};

/// Allowed for some arguments; the filter says which.
pub(crate) const CONDITIONAL: &[Call] = calls! {
    ioctl=16 socket=41 clone=56 personality=135 setrlimit=160 prlimit64=302 seccomp=317
};

/// Answered as if the kernel were too old, so that libraries use the call this one replaced.
pub(crate) const ABSENT: &[Call] = calls! { io_uring_setup=425 io_uring_enter=426 io_uring_register=427 clone3=435 };

/// Refused and told to the keeper. Not consulted by the filter, which refuses whatever it does not know; only names.
#[rustfmt::skip]
const REFUSED: &[Call] = calls! {
    ptrace=101 syslog=103 uselib=134 ustat=136 sysfs=139 vhangup=153 modify_ldt=154 pivot_root=155 _sysctl=156
    adjtimex=159 chroot=161 acct=163 settimeofday=164 mount=165 umount2=166 swapon=167 swapoff=168 reboot=169
    sethostname=170 setdomainname=171 iopl=172 ioperm=173 create_module=174 init_module=175 delete_module=176
    get_kernel_syms=177 query_module=178 quotactl=179 nfsservctl=180 getpmsg=181 putpmsg=182 afs_syscall=183
    tuxcall=184 security=185 set_thread_area=205 get_thread_area=211 lookup_dcookie=212 epoll_ctl_old=214
    epoll_wait_old=215 clock_settime=227 vserver=236 mbind=237 set_mempolicy=238 get_mempolicy=239
    kexec_load=246 add_key=248 request_key=249 keyctl=250 migrate_pages=256 unshare=272 move_pages=279
    perf_event_open=298 fanotify_init=300 fanotify_mark=301 open_by_handle_at=304 clock_adjtime=305 setns=308
    process_vm_readv=310 process_vm_writev=311 kcmp=312 finit_module=313 kexec_file_load=320 bpf=321
    userfaultfd=323 open_tree=428 move_mount=429 fsopen=430 fsconfig=431 fsmount=432 fspick=433 pidfd_getfd=438
    process_madvise=440 mount_setattr=442 quotactl_fd=443 memfd_secret=447 set_mempolicy_home_node=450
    statmount=457 listmount=458 lsm_get_self_attr=459 lsm_set_self_attr=460 lsm_list_modules=461
    open_tree_attr=467 file_getattr=468 file_setattr=469
};

/// `execve` and `execveat`: allowed, and where programs are observed told to the launcher, which lets them go on.
pub(crate) const STARTS_PROGRAM: [u32; 2] = [59, 322];

/// The newest call known here; what is newer is answered as absent, as on an older kernel.
pub(crate) const NEWEST: u32 = 469;

/// What people call system call `number`.
pub fn name(number: i32) -> Option<&'static str> {
    let number = u32::try_from(number).ok()?;
    [REFUSED, CONDITIONAL, ALLOWED, ABSENT].into_iter().flatten().find(|call| call.0 == number).map(|call| call.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_up_to_the_newest_stands_in_one_list_under_one_name() {
        let all: Vec<&Call> = [REFUSED, CONDITIONAL, ALLOWED, ABSENT].into_iter().flatten().collect();
        let numbers: std::collections::BTreeSet<u32> = all.iter().map(|call| call.0).collect();
        let names: std::collections::BTreeSet<&str> = all.iter().map(|call| call.1).collect();
        assert_eq!((numbers.len(), names.len()), (all.len(), all.len()));
        // The kernel left 335 to 423 unused, and 468 on were added after these lists' kernel headers.
        assert!((0..=334).chain(424..=NEWEST).all(|number| numbers.contains(&number)));
    }

    #[test]
    fn what_starts_a_program_is_allowed_for_observing_decides_nothing() {
        for (number, known) in STARTS_PROGRAM.into_iter().zip(["execve", "execveat"]) {
            assert!(ALLOWED.contains(&(number, known)), "{known}");
        }
    }

    #[test]
    fn what_must_never_be_allowed_is_in_no_allowing_list() {
        for banned in [
            "ptrace",
            "process_vm_readv",
            "process_vm_writev",
            "kcmp",
            "pidfd_getfd",
            "mount",
            "umount2",
            "pivot_root",
            "chroot",
            "setns",
            "unshare",
            "bpf",
            "perf_event_open",
            "userfaultfd",
            "keyctl",
            "add_key",
            "request_key",
            "open_by_handle_at",
            "syslog",
            "fsopen",
            "open_tree",
            "move_mount",
            "mount_setattr",
            "init_module",
            "kexec_load",
            "memfd_secret",
            "modify_ldt",
        ] {
            assert!(!ALLOWED.iter().chain(CONDITIONAL).any(|call| call.1 == banned), "{banned}");
            assert!(REFUSED.iter().any(|call| call.1 == banned), "{banned}");
        }
    }
}
