//! The control: each of these has a twin that is refused.

use ringfence::{Portable, Sandbox};

#[derive(Debug, PartialEq, Portable)]
struct Point {
    x: u32,
    y: u32,
}

fn main() -> Result<(), ringfence::Error> {
    let sandbox = Sandbox::process()?;
    let factor = 3_u64;
    assert_eq!(sandbox.call(|(x, factor): (u64, u64)| x * factor, (2_u64, factor))?, 6);
    assert_eq!(sandbox.run(|| 2 * factor)?, 6);
    assert_eq!(sandbox.call(|text: &str| text.to_owned(), "owned")?, "owned");
    assert_eq!(sandbox.call(|count: u64| count, 3_u64)?, 3);
    let mirrored = sandbox.call(|point: Point| Point { x: point.y, y: point.x }, Point { x: 1, y: 2 })?;
    assert_eq!(mirrored, Point { x: 2, y: 1 });
    let mut session = sandbox.session()?;
    session.call(|()| (), ())
}
