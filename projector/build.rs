//! A new migration is compiled in without a `touch`.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
