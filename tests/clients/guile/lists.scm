;;; lists.scm - pairs: building, mapping, sorting, association lists. Argument: the rounds.
(use-modules (srfi srfi-1))

(define (random-list n seed)
  (let loop ((i 0) (x seed) (out '()))
    (if (= i n)
        out
        (loop (+ i 1) (modulo (+ (* x 1103515245) 12345) 2147483648) (cons x out)))))

(define (round seed)
  (let* ((numbers (random-list 50000 seed))
         (sorted (sort numbers <))
         (pairs (map cons sorted (reverse sorted)))
         (even (filter (lambda (p) (even? (car p))) pairs))
         (joined (append-map (lambda (p) (list (car p) (cdr p) (+ (car p) (cdr p)))) even)))
    (fold (lambda (x sum) (modulo (+ (* sum 31) x) 1000003)) 0
          (delete-duplicates (take joined 300)))))

(define kept '())
(do ((i 1 (+ i 1))) ((> i (string->number (cadr (command-line)))))
  (let ((result (round i)))
    (set! kept (acons i (random-list 2000 result) kept))
    (format #t "~a ~a~%" i result)))
(format #t "kept ~a~%" (fold (lambda (entry sum) (modulo (+ sum (apply + (cdr entry))) 1000003))
                             0 kept))
