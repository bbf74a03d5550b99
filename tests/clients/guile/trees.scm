;;; trees.scm - binary trees of small vectors: the collector's usual benchmark. Argument: the depth.
(define (make depth)
  (if (zero? depth)
      (vector #f #f)
      (let ((left (make (- depth 1))))
        (vector left (make (- depth 1))))))

(define (count tree)
  (if (vector-ref tree 0)
      (+ 1 (count (vector-ref tree 0)) (count (vector-ref tree 1)))
      1))

(define (repeat n thunk)
  (let loop ((i 0) (sum 0))
    (if (= i n) sum (loop (+ i 1) (+ sum (thunk))))))

(define depth (string->number (cadr (command-line))))
(define long-lived (make depth))
(let loop ((d 4))
  (when (<= d depth)
    (let ((n (ash 1 (- depth d -4))))
      (format #t "~a trees of depth ~a: ~a~%" n d (repeat n (lambda () (count (make d))))))
    (loop (+ d 4))))
(format #t "long lived: ~a~%" (count long-lived))
