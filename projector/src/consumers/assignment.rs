//! Which partitions a member of a group has, as the group's leader wrote it for the broker (Kafka's ConsumerProtocolAssignment).

/// Topics with partitions. `None` where it is not what consumers write.
pub(super) fn partitions(bytes: &[u8]) -> Option<Vec<(String, i32)>> {
    let mut rest = bytes;
    let _version = i16::from_be_bytes(take(&mut rest)?);
    let mut all = Vec::new();
    for _ in 0..count(&mut rest)? {
        let length = usize::try_from(i16::from_be_bytes(take(&mut rest)?)).ok()?;
        let (name, after) = rest.split_at_checked(length)?;
        let name = std::str::from_utf8(name).ok()?;
        rest = after;
        for _ in 0..count(&mut rest)? {
            all.push((name.to_owned(), i32::from_be_bytes(take(&mut rest)?)));
        }
    }
    Some(all)
}

/// Of entries, each of which has bytes: no more than there are.
fn count(rest: &mut &[u8]) -> Option<usize> {
    let count = usize::try_from(i32::from_be_bytes(take(rest)?)).ok()?;
    (count <= rest.len()).then_some(count)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_leader_wrote_is_read_and_anything_else_is_nothing() {
        // Version 0, two topics, no user data.
        let bytes = b"\0\0\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x03\0\x02bc\0\0\0\x01\0\0\0\x01\0\0\0\0";
        let found = partitions(bytes).unwrap();
        assert_eq!(found, [("a".to_owned(), 0), ("a".to_owned(), 3), ("bc".to_owned(), 1)]);
        let end = bytes.len() - 4;
        assert!((0..end).all(|length| partitions(&bytes[..length]).is_none()));
        assert_eq!(partitions(b"\0\0\xff\xff\xff\xff"), None);
        assert_eq!(partitions(b"\0\0\x7f\xff\xff\xff"), None);
        assert_eq!(partitions(b"\0\x01\0\0\0\0"), Some(vec![]));
    }
}
