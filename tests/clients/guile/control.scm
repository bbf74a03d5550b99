;;; control.scm - closures, continuations, generators, exceptions, records. Argument: the rounds.
(use-modules (srfi srfi-9) (srfi srfi-41) (ice-9 control) (ice-9 match))

(define-record-type point (make-point x y) point? (x point-x) (y point-y set-point-y!))

(define (compose-all n)
  (let loop ((i 0) (f (lambda (x) x)))
    (if (= i n) (f 0) (loop (+ i 1) (let ((g f)) (lambda (x) (+ (modulo i 7) (g x))))))))

(define (generator tree)
  (define return #f)
  (define (walk tree)
    (match tree
      (() #f)
      ((left value right)
       (walk left)
       (call/cc (lambda (rest)
                  (set! resume (lambda () (rest #f)))
                  (return value)))
       (walk right))))
  (define resume (lambda () (walk tree) (return #f)))
  (lambda () (call/cc (lambda (k) (set! return k) (resume)))))

(define (tree low high)
  (if (> low high)
      '()
      (let ((middle (quotient (+ low high) 2)))
        (list (tree low (- middle 1)) middle (tree (+ middle 1) high)))))

(define (sum-of-generator n)
  (let ((next (generator (tree 1 n))))
    (let loop ((sum 0)) (let ((value (next))) (if value (loop (+ sum value)) sum)))))

(define (prompts n)
  (let ((tag (make-prompt-tag)))
    (let loop ((i 0) (sum 0))
      (if (= i n)
          sum
          (loop (+ i 1)
                (call-with-prompt tag
                  (lambda () (+ 1 (abort-to-prompt tag i)))
                  (lambda (k value) (+ sum (k value)))))))))

(define (exceptions n)
  (let loop ((i 0) (caught 0))
    (if (= i n)
        caught
        (loop (+ i 1)
              (+ caught (catch 'odd
                          (lambda () (if (odd? i) (throw 'odd i) 0))
                          (lambda (key value) 1)))))))

(define (records n)
  (let loop ((i 0) (points '()))
    (if (= i n)
        (apply + (map (lambda (p) (set-point-y! p (+ (point-x p) 1)) (point-y p)) points))
        (loop (+ i 1) (cons (make-point i (- i)) points)))))

(define (streams n)
  (stream-ref (stream-map * (stream-from 1) (stream-from 2)) n))

(define (deep n) (if (zero? n) 0 (+ 1 (deep (- n 1)))))

(do ((i 1 (+ i 1))) ((> i (string->number (cadr (command-line)))))
  (format #t "~a ~a ~a ~a ~a ~a ~a ~a~%" i (compose-all 5000) (sum-of-generator 3000)
          (prompts 5000) (exceptions 5000) (records 5000) (streams 500) (deep 100000)))
