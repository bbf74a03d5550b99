# trees.cr - binary trees of objects. Argument: the depth.
class Node
  getter left : Node?
  getter right : Node?

  def initialize(@left, @right)
  end

  def count : Int32
    l = @left
    r = @right
    l && r ? 1 + l.count + r.count : 1
  end
end

def make(depth : Int32) : Node
  depth == 0 ? Node.new(nil, nil) : Node.new(make(depth - 1), make(depth - 1))
end

depth = (ARGV[0]? || "10").to_i
kept = make(depth)
4.step(to: depth, by: 4) do |d|
  n = 1 << (depth - d + 4)
  total = 0_i64
  n.times { total += make(d).count }
  puts "#{n} trees of depth #{d}: #{total}"
end
puts "kept: #{kept.count}"
