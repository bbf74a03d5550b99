;;; futures.scm - futures and parallel maps on a pool of threads. Argument: the rounds.
(use-modules (ice-9 futures) (ice-9 threads) (srfi srfi-1))

(define (collatz n)
  (let loop ((n n) (path '()))
    (if (= n 1) (length path) (loop (if (even? n) (quotient n 2) (+ 1 (* 3 n))) (cons n path)))))

(define (futures round)
  (let ((all (map (lambda (i) (future (collatz (+ i (* round 1000))))) (iota 300 1))))
    (fold (lambda (f sum) (+ sum (touch f))) 0 all)))

(define (nested depth)
  (if (zero? depth)
      1
      (let ((left (future (nested (- depth 1)))))
        (+ (nested (- depth 1)) (touch left)))))

(do ((i 1 (+ i 1))) ((> i (string->number (cadr (command-line)))))
  (format #t "~a ~a ~a ~a ~a~%" i (futures i) (nested 8)
          (apply + (par-map collatz (iota 400 i)))
          (apply + (n-par-map 2 (lambda (n) (vector-length (make-vector n n))) (iota 300 1)))))
