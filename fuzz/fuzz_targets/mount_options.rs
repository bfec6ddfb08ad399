#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| littfs_fuzz::run("mount_options", input));
