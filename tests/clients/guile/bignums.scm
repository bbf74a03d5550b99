;;; bignums.scm - large integers, fractions and flonums. Argument: the rounds.
(define (factorial n)
  (let loop ((i 1) (product 1)) (if (> i n) product (loop (+ i 1) (* product i)))))

(define (fibonacci n)
  (let loop ((a 0) (b 1) (i 0)) (if (= i n) a (loop b (+ a b) (+ i 1)))))

(define (harmonic n)
  (let loop ((i 1) (sum 0)) (if (> i n) sum (loop (+ i 1) (+ sum (/ 1 i))))))

;; Spigot of Rabinowitz and Wagon, in Gibbons' unbounded form.
(define (digits-of-pi n)
  (let loop ((q 1) (r 0) (t 1) (k 1) (m 3) (x 3) (n n) (sum 0))
    (cond ((zero? n) sum)
          ((< (+ (* 4 q) (- r t)) (* m t))
           (loop (* 10 q) (* 10 (- r (* m t))) t k
                 (- (quotient (* 10 (+ (* 3 q) r)) t) (* 10 m)) x (- n 1)
                 (modulo (+ (* sum 10) m) 1000003)))
          (else
           (loop (* q k) (* (+ (* 2 q) r) x) (* t x) (+ k 1)
                 (quotient (+ (* q (+ (* 7 k) 2)) (* r x)) (* t x)) (+ x 2) n sum)))))

(define (mandelbrot size)
  (let loop ((i 0) (inside 0))
    (if (= i (* size size))
        inside
        (let ((cr (- (/ (* 3.0 (modulo i size)) size) 2.0))
              (ci (- (/ (* 2.0 (quotient i size)) size) 1.0)))
          (let iterate ((k 0) (zr 0.0) (zi 0.0))
            (cond ((> (+ (* zr zr) (* zi zi)) 4.0) (loop (+ i 1) inside))
                  ((= k 50) (loop (+ i 1) (+ inside 1)))
                  (else (iterate (+ k 1) (+ (- (* zr zr) (* zi zi)) cr)
                                 (+ (* 2.0 zr zi) ci)))))))))

(do ((i 1 (+ i 1))) ((> i (string->number (cadr (command-line)))))
  (format #t "~a ~a ~a ~a ~a ~a~%" i
          (modulo (factorial (+ 1000 i)) 1000003)
          (string-length (number->string (fibonacci (+ 8000 i))))
          (modulo (numerator (harmonic (+ 400 i))) 1000003)
          (digits-of-pi 200)
          (mandelbrot 60)))
