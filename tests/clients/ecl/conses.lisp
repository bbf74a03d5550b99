;;; conses.lisp - conses and closures: trees, lists, sorting, mapping.
(defun make-tree (depth)
  (if (zerop depth) (cons nil nil) (cons (make-tree (1- depth)) (make-tree (1- depth)))))

(defun count-tree (tree)
  (if (car tree) (+ 1 (count-tree (car tree)) (count-tree (cdr tree))) 1))

(defun random-list (n seed)
  (let ((x seed) (list '()))
    (dotimes (i n list)
      (setf x (mod (+ (* x 1103515245) 12345) 2147483648))
      (push x list))))

(defun lists (seed)
  (let* ((numbers (random-list 3000 seed))
         (sorted (sort (copy-list numbers) #'<))
         (pairs (mapcar #'cons sorted (reverse sorted)))
         (even (remove-if-not (lambda (p) (evenp (car p))) pairs)))
    (reduce (lambda (sum p) (mod (+ (* sum 31) (car p) (cdr p)) 1000003)) even
            :initial-value 0)))

(defun main (rounds)
  (let ((kept (make-tree 14)))
    (dotimes (i rounds)
      (format t "~a ~a ~a~%" i (count-tree (make-tree 12)) (lists i)))
    (format t "kept ~a~%" (count-tree kept))))
