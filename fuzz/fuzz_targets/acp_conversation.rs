#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    selvedge_workers::fuzz::run("acp_conversation", bytes);
});
