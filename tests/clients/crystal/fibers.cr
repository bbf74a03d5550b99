# fibers.cr - fibers that allocate on stacks of their own, and channels. Argument: the rounds.
class Held
  property text : String

  def initialize(@text)
  end

  def finalize
    @@finalized += 1
  end

  @@finalized = 0

  def self.finalized
    @@finalized
  end
end

def work(id : Int32, results : Channel(Int32))
  local = [] of Held
  200.times do |i|
    local << Held.new("text #{id} #{i}")
    Fiber.yield if i % 50 == 0
  end
  results.send(local.sum(&.text.size))
end

rounds = (ARGV[0]? || "3").to_i
rounds.times do |round|
  results = Channel(Int32).new
  100.times { |id| spawn work(id, results) }
  GC.collect if round % 4 == 0
  sum = 0
  100.times { sum += results.receive }
  puts "#{round} #{sum}"
end
GC.collect
puts "some were finalized: #{Held.finalized > 0}"
